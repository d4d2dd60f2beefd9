"""Messages in doubt → what their rows say: one SELECT a batch, before any of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connections

from django_tasks.bridge.edges import hand_over_in_broker, how_of
from django_tasks.broker import Broker
from django_tasks.broker.message import Message, Outcome
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL, Recording


def settle_doubts(messages: Sequence[Message], broker: Broker) -> list[Outcome]:
    """Outcomes for those that must not run: "settled" if the row is final (or of a later round),
    "dropped" if it was deleted. The others may run. Raises ``django.db.Error``; the next call
    then uses another connection; and ``BrokerError``."""
    by_database: dict[str, list[Message]] = {}
    for message in messages:
        if message.doubt and message.database in connections and not message.broken:
            by_database.setdefault(message.database, []).append(message)
    outcomes: list[Outcome] = []
    for database, doubtful in by_database.items():
        found = _rows(database, [one.id for one in doubtful if _is_uuid(one.id)])
        for message in doubtful:
            row = found.get(message.id)
            outcome = _verdict(message, row)
            if outcome is None:
                continue
            heir = (row[4] or {}).get("replaced_by") if row is not None else None
            if heir and outcome.fields:  # whoever waits for it in an older memory
                hand_over_in_broker(broker, message.id, UUID(heir), database)
            outcomes.append(outcome)
    return outcomes


_Row = tuple[str, int, str, str, Any]  # state, round, error's class and text, metadata


def _rows(database: str, record_ids: Sequence[str]) -> dict[str, _Row]:
    rows = TaskRecord.objects.using(database).filter(id__in=record_ids)
    try:
        names = ("id", "status", "round", "error_class", "error_message", "metadata")
        return {str(one): (*told,) for one, *told in rows.values_list(*names)}
    except DatabaseError:
        connection = connections[database]
        if not connection.in_atomic_block:
            connection.close()  # it may have broken; who asks again must not get it again
        raise


def _verdict(message: Message, row: _Row | None) -> Outcome | None:
    if row is None:
        # The row of record="after" may not be written yet.
        was_written = message.record == Recording.FIRST or message.is_recorded
        return Outcome.forgotten(message, "dropped") if was_written else None
    status, round_, kind, text, _ = row
    if round_ > message.round:
        return Outcome.forgotten(message, "settled")
    if round_ < message.round or status not in FINAL:
        return None
    # Whoever waits for it in the broker's (older) memory heard nothing of its end.
    return Outcome.forgotten(message, "settled", *how_of(status, kind, text, message.id))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
