"""Steps of a message that tests of the mirror take, and what may come between them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django_tasks.bridge.translate import to_message
from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome, to_json
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.models.bulk import insert_records

LATER = datetime.now(UTC) + timedelta(days=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Interrupted(Broker):
    """A broker to which something happens between two steps of the mirror."""

    __slots__ = ("after_read", "before_clean")

    def __init__(
        self,
        settings: TaskSettings,
        after_read: Callable[[], object] = lambda: None,
        before_clean: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(settings)
        self.after_read = after_read
        self.before_clean = before_clean

    def snapshots(self, *args: Any, **kwargs: Any) -> Any:
        found = super().snapshots(*args, **kwargs)
        self.after_read()
        return found

    def clean(self, *args: Any, **kwargs: Any) -> Any:
        self.before_clean()
        return super().clean(*args, **kwargs)


def written(settings: TaskSettings, **given: Any) -> TaskRecord:
    """A committed row that the broker does not know."""
    record = TaskRecord(task_name="tests.tasks.add", args=[1, 2], description="add(1, 2)")
    for name, value in given.items():
        setattr(record, name, value)
    insert_records([record], using="default")
    return record


def pushed(broker: Broker, recording: str = "first", **given: Any) -> TaskRecord:
    """A row and its message, as an enqueue leaves them after the commit."""
    record = TaskRecord(task_name="tests.tasks.add", args=[1, 2], description="add(1, 2)")
    for name, value in given.items():
        setattr(record, name, value)
    if recording == "first":
        insert_records([record], using="default")
    broker.push("default", [to_message(record, broker.settings, recording=recording)])
    return record


def claimed(broker: Broker, limit: int = 1) -> list[Message]:
    """What the consumer "c" takes now."""
    return broker.claim("default", "c", limit)


def fields_of(message: Message, word: str, **fields: str) -> dict[str, str]:
    """What a run of a message that ended in ``word`` reports."""
    attempt = {
        "number": message.attempt + 1,
        "consumer": "c",
        "claimed_at": message.fence,
        "started_at": message.fence + 1,
        "finished_at": message.fence + 2,
        "outcome": word,
        **{name: text for name, text in fields.items() if name in ("error_class", "traceback")},
    }
    return {
        f"attempt:{message.fence}": to_json(attempt),
        "started_at": str(message.fence + 1),
        "finished_at": str(message.fence + 2),
        "worker_id": "c",
        **fields,
    }


def end(
    broker: Broker, message: Message, word: str = "succeeded", *, delay: float = 0, **fields: str
) -> None:
    """Ack ``message`` as the consumer "c"."""
    given = fields_of(message, word, **fields)
    broker.ack("default", "c", [Outcome(message, word, delay, 0.001, given)])


def dirty(broker: Broker) -> list[str]:
    """Ids that wait for the mirror."""
    return broker.dirty("default", "default")


def message_of(broker: Broker, record: TaskRecord) -> Any:
    """What the broker holds of a record now."""
    return broker.snapshots("default", [str(record.id)])[str(record.id)]


def bring(broker: Broker, state: str, redis_client: Any, **given: Any) -> TaskRecord:
    """A row and a message in ``state``."""
    if state == "SCHEDULED":
        return pushed(broker, run_after=LATER, **given)
    if state == "EXPIRED":
        record = pushed(broker, expires=LONG_AGO, **given)
        claimed(broker)
        return record
    record = pushed(broker, **given)
    if state in ("RUNNING", "SUCCESSFUL", "FAILED"):
        [message] = claimed(broker)
        if state == "SUCCESSFUL":
            end(broker, message, return_value="3")
        elif state == "FAILED":
            end(broker, message, "failed", error_class="ValueError", error_message="no")
    elif state in ("CANCELLED", "DEFERRED"):  # their scripts come with actions and workflows
        key = broker.keys("default")
        redis_client.zrem(key.ready, str(record.id))
        redis_client.hset(key.message(str(record.id)), "state", state)
    return record


def message_for(broker: Broker, record: TaskRecord, database: str) -> Message:
    """What delivery would push for a row."""
    return to_message(record, broker.settings, database=database)
