"""An audit and what was found in each distribution."""

from __future__ import annotations

from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _


class Verdict(models.TextChoices):
    """Of a distribution, and of an audit: the worst of its distributions'."""

    SOUND = "sound"  # every file is as published, every requirement is met
    UNVERIFIED = "unverified"  # nothing wrong was found, but not every file could be verified
    UNSOUND = "unsound"  # something that someone should look at


class Audit(models.Model):
    """One look at every installed distribution; its ``report`` is written by the last task."""

    created_at = models.DateTimeField(_("started"), auto_now_add=True)
    workflow_id = models.UUIDField(_("workflow"), null=True, editable=False)
    report_task_id = models.UUIDField(_("report's task"), null=True, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)
    report = models.JSONField(_("report"), default=dict, editable=False)  # {} until finished

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("audit")
        verbose_name_plural = _("audits")

    def __str__(self) -> str:
        return f"Audit {self.pk}"

    def get_absolute_url(self) -> str:
        """The audit's page: progress, then report."""
        return reverse("audit:audit", args=[self.pk])

    @property
    def seconds(self) -> float | None:
        """How long the audit took; None while it runs."""
        return (self.finished_at - self.created_at).total_seconds() if self.finished_at else None


class DistributionReport(models.Model):
    """One distribution of an audit. Written with the enqueue of its tasks, which fill it in;
    ``task_id``: the last one's."""

    audit = models.ForeignKey(Audit, models.CASCADE, related_name="distributions")
    name = models.CharField(_("name"), max_length=200)
    task_id = models.UUIDField(_("task"), editable=False)
    inspected_at = models.DateTimeField(_("inspected"), null=True)  # null: not yet
    version = models.CharField(_("version"), max_length=200, blank=True)
    licence = models.CharField(_("licence"), max_length=200, blank=True)
    files = models.PositiveIntegerField(_("files"), default=0)
    verified = models.PositiveIntegerField(_("verified files"), default=0)
    size = models.PositiveBigIntegerField(_("bytes"), default=0)
    lines = models.JSONField(_("lines by language"), default=dict)
    problems = models.JSONField(_("problems of files"), default=list)
    unsatisfied = models.JSONField(_("unsatisfied requirements"), default=list)
    unverified = models.JSONField(_("why not verified"), default=list)
    remarks = models.JSONField(_("remarks"), default=list)

    class Meta:
        ordering = ("name",)
        verbose_name = _("distribution")
        verbose_name_plural = _("distributions")
        # What makes the audit's tasks safe to run twice: there is one row to fill in.
        constraints = (
            models.UniqueConstraint(
                fields=("audit", "name"), name="audit_one_row_per_distribution"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def verdict(self) -> Verdict:
        """What to make of what was found."""
        if self.problems or self.unsatisfied:
            return Verdict.UNSOUND
        return Verdict.UNVERIFIED if self.unverified else Verdict.SOUND
