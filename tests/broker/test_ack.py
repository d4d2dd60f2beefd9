"""ack: what a consumer reports, and who is believed (laws 1 and 3)."""

from __future__ import annotations

from django_tasks.broker import Broker
from django_tasks.broker.message import Outcome
from tests.conftest import make_message


def test_a_stale_ack_is_refused(broker: Broker) -> None:
    broker.beat(["mail"], ["a", "b"], register=True)
    message = make_message()
    broker.push("mail", [message])
    [zombie] = broker.claim("mail", "a")
    broker.reap("mail", "a")
    [heir] = broker.claim("mail", "b")

    acked = broker.ack("mail", "a", [Outcome.successful(zombie, "late")])

    assert acked.refused == [message.id]
    assert broker.holder("mail", message.id) == ("b", heir.fence)
