"""TaskRecord: one enqueued call, its options, state and outcome. TaskAttempt: one run of it.

Rows carry data and have no behaviour; after the INSERT the mirror is their only writer (law 5)."""

from __future__ import annotations

import os
import threading
import time
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.core.checks import CheckMessage
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.base import ModelState
from django.db.models.fields.json import KeyTransform
from django.db.models.signals import post_init, pre_init
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_tasks.errors import NotATask
from django_tasks.framework import Task
from django_tasks.models.fields import AnyJSONField, AnyTextField
from django_tasks.states import FINAL, WAITING, State

_last_tick = 0
_tick_lock = threading.Lock()


def _renew_lock() -> None:
    # A thread of the parent may have held it at the fork: nobody would let it go here.
    global _tick_lock
    _tick_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def new_id() -> UUID:
    """A UUIDv7 greater than any that this process made before.

    48 bits of milliseconds, 12 of their fraction (RFC 9562, method 3), 62 random bits."""
    global _last_tick
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    tick = milliseconds << 12 | (rest << 12) // 1_000_000
    with _tick_lock:
        tick = _last_tick = max(tick, _last_tick + 1)
    random_bits = int.from_bytes(os.urandom(8), "big") >> 2
    high = tick >> 12 << 16 | 0x7000 | tick & 0xFFF
    return UUID(int=high << 64 | 0b10 << 62 | random_bits)


def derived_id(record_id: UUID, round_: int, what: str, ordinal: int) -> UUID:
    """The id of what a run makes: the same whenever the run is repeated. It stands in time right
    after the record, by its ordinal (up to 4,095), so that lists show them together."""
    named = f"{record_id}:{round_}:{what}:{ordinal}".encode()
    drawn = int.from_bytes(sha256(named).digest()[:8], "big") >> 2
    high = (record_id.int >> 80) + 1 << 16 | 0x7000 | min(ordinal, 0xFFF)
    return UUID(int=high << 64 | 0b10 << 62 | drawn)


class TaskRecordQuerySet(models.QuerySet["TaskRecord"]):
    """Records, by the field's words."""

    def pending(self) -> TaskRecordQuerySet:
        """Committed, and not (yet) seen by the broker. Index taskrecord_pending."""
        return self.filter(status=State.PENDING)

    def waiting(self) -> TaskRecordQuerySet:
        """Not started: pending, deferred, scheduled or ready."""
        return self.filter(status__in=WAITING)

    def scheduled(self) -> TaskRecordQuerySet:
        return self.filter(status=State.SCHEDULED)

    def ready(self) -> TaskRecordQuerySet:
        return self.filter(status=State.READY)

    def running(self) -> TaskRecordQuerySet:
        return self.filter(status=State.RUNNING)

    def successful(self) -> TaskRecordQuerySet:
        return self.filter(status=State.SUCCESSFUL)

    def failed(self) -> TaskRecordQuerySet:
        return self.filter(status=State.FAILED)

    def dead_letters(self) -> TaskRecordQuerySet:
        """Given up for a reason other than their own error."""
        return self.filter(status=State.FAILED).exclude(dead_letter="")

    def final(self) -> TaskRecordQuerySet:
        return self.filter(status__in=FINAL)

    def unfinished(self) -> TaskRecordQuerySet:
        """Not final. Index taskrecord_unfinished."""
        return self.exclude(status__in=FINAL)

    def unneeded(self) -> TaskRecordQuerySet:
        """Final, and nothing that is not final will read it: neither a dependent (its inputs) nor
        the rest of its workflow (its counts, a retry). What retention may delete."""
        live = TaskRecord.objects.exclude(status__in=FINAL)
        return self.final().exclude(
            Exists(live.filter(parents=OuterRef("pk")))
            | Exists(live.filter(workflow=OuterRef("workflow")))
        )

    def for_task(self, task: Any) -> TaskRecordQuerySet:
        """Of one task: the task itself, or its name. Raises ``NotATask``."""
        if isinstance(task, str):
            return self.filter(task_name=task)
        if not isinstance(task, Task):
            raise NotATask(
                f"for_task() got {task!r}, which is no task. Put @django_task above its"
                " definition, or give the name by which its records go: for_task('app.tasks.f')."
            )
        # A plain `django.tasks` task has no name of its own that travels.
        return self.filter(task_name=getattr(task, "task_name", "") or task.module_path)

    def in_queue(self, queue: str) -> TaskRecordQuerySet:
        return self.filter(queue_name=queue)

    def enqueued_by(self, record: TaskRecord | UUID | str) -> TaskRecordQuerySet:
        """What the runs of one record enqueued. Index taskrecord_parent."""
        return self.filter(parent_id=record.pk if isinstance(record, TaskRecord) else record)

    def of_release(self, release: str) -> TaskRecordQuerySet:
        """Enqueued by one release of the project: the setting RELEASE at the time."""
        return self.filter(release=release)

    def with_header(self, **headers: Any) -> TaskRecordQuerySet:
        """Whose calls bear these headers: ``with_header(view="shop:checkout")``."""
        found = self
        for name, value in headers.items():
            # By its key alone: a header may be named as a lookup is.
            of_header = {f"_header_{name}": KeyTransform(name, "headers")}
            found = found.alias(**of_header).filter(**{f"_header_{name}": value})
        return found

    def after(self, record_id: UUID | None) -> TaskRecordQuerySet:
        """Made later than the record with this id, which need not exist."""
        return self if record_id is None else self.filter(id__gt=record_id)


class TaskRecord(models.Model):
    """One enqueued call. Times are as ``USE_TZ`` says; ``revision`` and ``fence`` are microseconds
    that only grow; ``round`` is 1, and +1 whenever a final record is made to run again."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    task_name = models.CharField(_("task"), max_length=200)
    description = AnyTextField(_("description"), blank=True, default="")
    queue_name = models.CharField(_("queue"), max_length=100, default="default")
    priority = models.SmallIntegerField(_("priority"), default=0)
    args = AnyJSONField(_("arguments"), default=list, blank=True)
    kwargs = AnyJSONField(_("keyword arguments"), default=dict, blank=True)
    status = models.CharField(
        _("status"), max_length=10, choices=State.choices, default=State.PENDING
    )
    revision = models.BigIntegerField(_("revision"), default=0)
    fence = models.BigIntegerField(_("fence"), default=0)
    round = models.PositiveIntegerField(_("round"), default=1)
    attempt = models.PositiveIntegerField(_("failed attempts"), default=0)
    lost = models.PositiveIntegerField(_("lost runs"), default=0)
    max_attempts = models.PositiveIntegerField(_("attempts allowed"), default=1)
    run_after = models.DateTimeField(_("run after"), null=True, blank=True)
    expires = models.DateTimeField(_("expires"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    enqueued_at = models.DateTimeField(_("enqueued"), null=True, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    worker_id = models.CharField(_("worker"), max_length=200, blank=True, default="")
    return_value = AnyJSONField(_("return value"), null=True, blank=True)
    error_class = AnyTextField(_("error class"), blank=True, default="")
    error_message = AnyTextField(_("error message"), blank=True, default="")
    traceback = AnyTextField(_("traceback"), blank=True, default="")
    dead_letter = AnyTextField(_("given up because"), blank=True, default="")
    # What travels beside the arguments: language, time zone, who and what enqueued the call.
    # None of these three is asked of a release that does not know them (a rolling deploy).
    headers = AnyJSONField(_("headers"), null=True, blank=True)
    release = models.CharField(_("release"), max_length=100, blank=True, default="", db_default="")
    parent_id = models.UUIDField(_("enqueued by"), null=True, blank=True)
    workflow = models.ForeignKey(
        "Workflow",
        verbose_name=_("workflow"),
        related_name="records",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        db_constraint=False,  # as TaskAttempt's
        db_index=False,
    )
    # Those it waits for or waited for; the other way round ``dependents``.
    parents = models.ManyToManyField(
        "self",
        through="TaskDependency",
        through_fields=("child", "parent"),
        symmetrical=False,
        related_name="dependents",
        blank=True,
    )
    # What few records have: what using() said and no column keeps (the alias of TASKS, max_lost,
    # backoff, record, run_after as asked for); what a message of unknown shape held.
    metadata = AnyJSONField(_("metadata"), default=dict, blank=True)

    objects = TaskRecordQuerySet.as_manager()

    class Meta:
        verbose_name = _("task record")
        verbose_name_plural = _("task records")
        ordering = ("-id",)  # UUIDv7: newest first, by the primary key
        # One for each deed (bridge/actions.py).
        permissions = (
            ("retry_taskrecord", "Can retry tasks"),
            ("cancel_taskrecord", "Can cancel tasks"),
            ("run_now_taskrecord", "Can run tasks now"),
            ("reschedule_taskrecord", "Can reschedule tasks"),
            ("prioritize_taskrecord", "Can change the priority of tasks"),
            ("move_to_front_taskrecord", "Can move tasks to the front"),
            ("discard_taskrecord", "Can discard dead letters"),
        )
        indexes = (
            # Delivery: small at any table size.
            models.Index(fields=("id",), condition=Q(status="PENDING"), name="taskrecord_pending"),
            models.Index(
                fields=("queue_name", "id"),
                condition=Q(status__in=("PENDING", "DEFERRED", "SCHEDULED", "READY", "RUNNING")),
                name="taskrecord_unfinished",
            ),
            # The admin's filters: what went wrong, and one task's records.
            models.Index(
                fields=("status", "id"),
                condition=Q(status__in=("FAILED", "CANCELLED", "EXPIRED")),
                name="taskrecord_failed",
            ),
            models.Index(fields=("task_name", "id"), name="taskrecord_task"),
            # Dead letters are counted for each queue.
            models.Index(
                fields=("queue_name", "id"),
                condition=Q(status="FAILED") & ~Q(dead_letter=""),
                name="taskrecord_dead",
            ),
            # What a task enqueued: few have a parent.
            models.Index(
                fields=("parent_id", "id"),
                condition=Q(parent_id__isnull=False),
                name="taskrecord_parent",
            ),
            # A workflow's members, by state: most records are in none.
            models.Index(
                fields=("workflow", "status", "id"),
                condition=Q(workflow__isnull=False),
                name="taskrecord_workflow",
            ),
        )

    def __str__(self) -> str:
        return self.description or f"{self.task_name} {self.pk}"

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        """Without Django's warning that MySQL ignores the conditions of indexes (models.W037): the
        queries are made for it, and nobody has to do anything (docs/databases.md)."""
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]


# attribute → default, of those whose default is one value; in the order of the columns.
USUAL = {
    field.attname: None if callable(field.default) else field.get_default()
    for field in TaskRecord._meta.concrete_fields
}


def new_values(**values: Any) -> list[Any]:
    """The values of all columns, in their order: those given, and defaults. ``args``, ``kwargs``,
    ``metadata`` and ``created_at`` must be given."""
    return list({**USUAL, **values, "id": values.get("id") or new_id()}.values())


def new_record(**values: Any) -> TaskRecord:
    """``TaskRecord(**values)`` at a fifth of the price: the values are put where Django would put
    them, and no field is asked. The same must be given as to ``new_values``."""
    if pre_init.has_listeners(TaskRecord) or post_init.has_listeners(TaskRecord):
        make: Any = TaskRecord
        record: TaskRecord = make(*new_values(**values))
        return record
    record = TaskRecord.__new__(TaskRecord)
    record.__dict__.update(USUAL, _state=ModelState(), **values)
    if not record.__dict__["id"]:
        record.__dict__["id"] = new_id()
    return record


class TaskAttempt(models.Model):
    """One run of a record that ended, for whatever reason. ``consumer``: who ran it."""

    # No constraint in the database: written in bulk, and an insert would lock the record's row.
    record = models.ForeignKey(
        TaskRecord,
        on_delete=models.CASCADE,
        related_name="attempts",
        db_constraint=False,
        db_index=False,
    )
    number = models.PositiveIntegerField(_("number"))
    fence = models.BigIntegerField(_("fence"))
    consumer = models.CharField(_("consumer"), max_length=200, blank=True, default="")
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=20)
    error_class = AnyTextField(_("error class"), blank=True, default="")
    error_message = AnyTextField(_("error message"), blank=True, default="")
    traceback = AnyTextField(_("traceback"), blank=True, default="")
    report = AnyJSONField(_("progress and log"), null=True, blank=True)

    class Meta:
        verbose_name = _("task attempt")
        verbose_name_plural = _("task attempts")
        ordering = ("fence",)
        constraints = (models.UniqueConstraint(fields=("record", "fence"), name="taskattempt_run"),)

    def __str__(self) -> str:
        return f"{self.number}: {self.outcome}"
