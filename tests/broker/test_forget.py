"""forget: a final message leaves at once, or as soon as its row says the same; all else stays."""

from __future__ import annotations

from typing import Any

from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from tests.conftest import make_message


def finished(broker: Broker, **given: Any) -> Any:
    broker.beat(["mail"], ["a"], register=True)
    broker.push("mail", [make_message(**given)])
    [claimed] = broker.claim("mail", "a")
    broker.ack("mail", "a", [Outcome.successful(claimed, 7)])
    return claimed


def test_law_5_what_its_row_does_not_say_yet_stays_until_it_does(broker: Broker) -> None:
    one = finished(broker, record="first", database="default")

    assert broker.forget("mail", [one.id]) == 0
    snapshot = broker.snapshots("mail", [one.id])[one.id]
    assert snapshot.state == "SUCCESSFUL"

    broker.clean("mail", "default", [(one.id, "written", snapshot.revision, "SUCCESSFUL", ())])
    left = broker.client.ttl(broker.keys("mail").message(one.id))
    assert left <= 1


def test_what_is_copied_or_has_no_row_leaves_at_once_and_once(broker: Broker) -> None:
    copied = finished(broker, record="first", database="default")
    rowless = finished(broker, record="never", database="")
    revision = broker.snapshots("mail", [copied.id])[copied.id].revision
    broker.clean("mail", "default", [(copied.id, "written", revision, "SUCCESSFUL", ())])

    assert broker.forget("mail", [copied.id, rowless.id, "unknown"]) == 2
    assert broker.snapshots("mail", [copied.id, rowless.id]) == {}
    assert broker.forget("mail", [copied.id, rowless.id]) == 0


def test_what_waits_or_runs_stays(broker: Broker) -> None:
    broker.beat(["mail"], ["a"], register=True)
    messages = [make_message(), make_message()]
    broker.push("mail", messages)
    [running] = broker.claim("mail", "a")

    assert broker.forget("mail", [one.id for one in messages]) == 0
    assert broker.holder("mail", running.id) == ("a", running.fence)
    assert len(broker.claim("mail", "a")) == 1
