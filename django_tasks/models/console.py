"""Names for the console's pages: what Django hangs permissions and admin entries on. No tables."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Queue(models.Model):
    """The queues' status page."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = (
            ("pause_queue", "Can pause queues"),
            ("resume_queue", "Can resume queues"),
            ("purge_queue", "Can purge queues"),
        )
        verbose_name = _("queue")
        verbose_name_plural = _("queue status")

    def __str__(self) -> str:
        return str(self.pk)
