"""The queue "mail" with a consumer "a", and what is pushed into it."""

from __future__ import annotations

from typing import Any

import pytest

from django_tasks.broker import Broker
from django_tasks.broker.message import Message
from tests.conftest import make_message


@pytest.fixture
def line(broker: Broker) -> Broker:
    broker.beat(["mail"], ["a"], register=True)
    return broker


def pushed(broker: Broker, **given: Any) -> Message:
    message = make_message(database="default", **given)
    broker.push("mail", [message])
    return message
