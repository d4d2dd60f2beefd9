"""Workflow: the records of one chain, group, chord or graph. TaskDependency: who waits for whom.

Rows carry data and have no behaviour. Nothing here is constrained in the database: it is written
in bulk, and a constraint would lock the records' rows."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_tasks.models.record import TaskRecord, new_id
from django_tasks.states import Policy


class Workflow(models.Model):
    """The records of one chain, group, chord or graph: ``workflow.records``."""

    class Kind(models.TextChoices):
        CHAIN = "chain", _("Chain")
        GROUP = "group", _("Group")
        CHORD = "chord", _("Chord")
        GRAPH = "graph", _("Graph")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=200, blank=True, default="")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.GRAPH)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("workflow")
        verbose_name_plural = _("workflows")
        ordering = ("-id",)  # UUIDv7: newest first

    def __str__(self) -> str:
        return self.name or f"{self.kind} {self.pk}"


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
