"""Messages as each version of the format wrote them, kept: whoever comes later understands them.

A new version adds a file to ``frozen/`` and changes none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import VERSION, Message, Outcome
from tests.conftest import make_message

FROZEN = Path(__file__).parent / "frozen"
VERSIONS = sorted(FROZEN.glob("version_*.json"))


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_messages_of_each_version_are_understood(broker: Broker, path: Path) -> None:
    given: dict[str, Any] = json.loads(path.read_text())
    queue, keys = given["queue"], broker.keys(given["queue"])
    for one in given["messages"]:
        broker.client.hset(keys.message(one["id"]), mapping=one["hash"])
        broker.client.zadd(keys.ready, {one["id"]: float(one["hash"]["score"])})
    # As its own era would say: it is not in doubt for having been pushed long ago.
    era = given["messages"][0]["hash"]["era"]
    broker.client.hset(keys.meta, mapping={"era": era, "since": era})
    run = broker.client.info("server")["run_id"]
    broker.client.hset(keys.meta, "run", run)
    broker.beat([queue], ["a"], register=True)

    claimed = {message.id: message for message in broker.claim(queue, "a", 10)}

    for one in given["messages"]:
        message = claimed[one["id"]]
        assert message.broken == ""
        assert {name: getattr(message, name) for name in one["message"]} == one["message"]
    acked = broker.ack(queue, "a", [Outcome.successful(one, 3) for one in claimed.values()])
    assert set(acked.accepted) == set(claimed)


def test_each_version_has_its_frozen_messages() -> None:
    assert [path.stem for path in VERSIONS] == [f"version_{n}" for n in range(1, VERSION + 1)]


def test_what_is_written_now_is_what_was_frozen() -> None:
    """Else this is another version: raise VERSION, and freeze some of its messages."""
    given: dict[str, Any] = json.loads((FROZEN / f"version_{VERSION}.json").read_text())
    known = {name for one in given["messages"] for name in one["hash"]}
    by_scripts = {"era", "doubt", "state", "score", "revision", "fence"}
    # Sent only with a run_after, or by a delivery.
    optional = {"run_after", "suspect", "version"}

    plain = make_message(description="d", release="r", metadata='{"a":1}', backoff="[1]", round=2)
    full = Message(
        **{
            **{name: getattr(plain, name) for name in Message.__dataclass_fields__},
            "args": "[1]",
            "kwargs": '{"b":1}',
            "priority": 1,
            "max_lost": 1,
            "ttl": 1,
            "attempt": 1,
            "lost": 1,
            "fence": 1,
            "revision": 1,
        }
    )

    written = set(full.to_fields()[::2]) | {"enqueued_at", "expires"}
    assert written - by_scripts - known - optional == set()
