"""Workflow: the records of one chain, group, chord or graph. TaskDependency: who waits for whom.

Rows carry data and have no behaviour. Nothing here is constrained in the database: it is written
in bulk, and a constraint would lock the records' rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import models
from django.db.models import Count, Exists, F, Max, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_tasks.models.record import TaskRecord, new_id
from django_tasks.states import FINAL, WAITING, Policy, State

NOT_NEEDED = "django_tasks.errors.NotNeeded"  # of a callback that did not come to be wanted
_FAILED = (State.FAILED, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class Counts:
    """A workflow's records by state; those that are none are not there. ``not_needed``: how many of
    the cancelled ones are callbacks that nothing called for."""

    by_state: dict[str, int] = field(default_factory=dict)
    not_needed: int = 0

    @property
    def total(self) -> int:
        return sum(self.by_state.values())

    @property
    def done(self) -> int:
        """Those that are final, whichever way they ended."""
        return sum(count for state, count in self.by_state.items() if state in FINAL)

    @property
    def status(self) -> State:
        """RUNNING while one is not final; then FAILED if one failed or expired, CANCELLED if one
        was cancelled that was needed, else SUCCESSFUL."""
        if self.done < self.total:
            return State.RUNNING
        if any(self.by_state.get(state) for state in _FAILED):
            return State.FAILED
        is_cut = self.by_state.get(State.CANCELLED, 0) > self.not_needed
        return State.CANCELLED if is_cut else State.SUCCESSFUL


def _has(**wanted: object) -> Exists:
    return Exists(TaskRecord.objects.filter(workflow=OuterRef("pk"), **wanted))


class WorkflowQuerySet(models.QuerySet["Workflow"]):
    """Workflows, by what their records came to. Index taskrecord_workflow."""

    def running(self) -> WorkflowQuerySet:
        """With a record that is not final."""
        return self.filter(_has(status__in=WAITING | {State.RUNNING}))

    def finished(self) -> WorkflowQuerySet:
        return self.exclude(_has(status__in=WAITING | {State.RUNNING}))

    def failed(self) -> WorkflowQuerySet:
        """Finished, and a record failed or expired."""
        return self.finished().filter(_has(status__in=_FAILED))

    def cancelled(self) -> WorkflowQuerySet:
        """Finished, none failed, and one was cancelled that was needed."""
        return self.finished().exclude(_has(status__in=_FAILED)).filter(_is_cut())

    def successful(self) -> WorkflowQuerySet:
        return self.finished().exclude(_has(status__in=_FAILED)).exclude(_is_cut())

    def counts(self) -> dict[UUID, Counts]:
        """Of each: its records by state. Two statements, whatever their number."""
        return counts_of(list(self.values_list("pk", flat=True)), self.db)


def _is_cut() -> Exists:
    cancelled = TaskRecord.objects.filter(workflow=OuterRef("pk"), status=State.CANCELLED)
    return Exists(cancelled.exclude(error_class=NOT_NEEDED))


def counts_of(workflows: Collection[UUID], using: str) -> dict[UUID, Counts]:
    """Workflow → its records by state."""
    rows = TaskRecord.objects.using(using).filter(workflow__in=workflows).order_by()
    by_state: dict[UUID, dict[str, int]] = {one: {} for one in workflows}
    # An index alone answers this; the errors are only read of what was cancelled.
    for one, state, count in rows.values_list("workflow", "status").annotate(count=Count("id")):
        by_state[one][state] = count
    cut = [one for one, states in by_state.items() if State.CANCELLED in states]
    spared: dict[UUID, int] = {}
    if cut:
        idle = rows.filter(workflow__in=cut, status=State.CANCELLED, error_class=NOT_NEEDED)
        spared = dict(idle.values_list("workflow").annotate(count=Count("id")))
    return {one: Counts(states, spared.get(one, 0)) for one, states in by_state.items()}


class Workflow(models.Model):
    """The records of one chain, group, chord or graph: ``workflow.records``.

    What became of it is read from these: no column could be behind. ``counts``, ``status`` and
    ``finished_at`` are a query each."""

    class Kind(models.TextChoices):
        CHAIN = "chain", _("Chain")
        GROUP = "group", _("Group")
        CHORD = "chord", _("Chord")
        GRAPH = "graph", _("Graph")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=200, blank=True, default="")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.GRAPH)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    objects = WorkflowQuerySet.as_manager()

    class Meta:
        verbose_name = _("workflow")
        verbose_name_plural = _("workflows")
        ordering = ("-id",)  # UUIDv7: newest first

    def __str__(self) -> str:
        return self.name or f"{self.kind} {self.pk}"

    @property
    def counts(self) -> Counts:
        """Its records by state."""
        return counts_of([self.pk], self._state.db or "default")[self.pk]

    @property
    def status(self) -> State:
        """RUNNING, SUCCESSFUL, FAILED or CANCELLED: see ``Counts.status``."""
        return self.counts.status

    @property
    def finished_at(self) -> datetime | None:
        """When its last record ended; None while one is not final."""
        if self.status == State.RUNNING:
            return None
        last: datetime | None = self.records.aggregate(last=Max("finished_at"))["last"]
        return last


class TaskDependency(models.Model):
    """``child`` waits for ``parent``. ``policy``: after which end of the parent it runs;
    ``position``: where the parent's value stands among the child's inputs, None: nowhere."""

    parent = models.ForeignKey(
        TaskRecord, on_delete=models.CASCADE, related_name="edges_down", db_constraint=False
    )
    child = models.ForeignKey(
        TaskRecord,
        on_delete=models.CASCADE,
        related_name="edges_up",
        db_constraint=False,
        db_index=False,  # the unique index begins with it
    )
    policy = models.CharField(
        _("policy"), max_length=10, choices=Policy.choices, default=Policy.SUCCESS
    )
    position = models.PositiveIntegerField(_("position"), null=True, blank=True)

    class Meta:
        verbose_name = _("task dependency")
        verbose_name_plural = _("task dependencies")
        constraints = (
            models.UniqueConstraint(fields=("child", "parent"), name="taskdependency_edge"),
            models.CheckConstraint(
                condition=~Q(parent=F("child")), name="taskdependency_no_self_edge"
            ),
        )

    def __str__(self) -> str:
        return f"{self.parent_id} → {self.child_id} ({self.policy})"
