"""AppConfig: connects the system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoTasksConfig(AppConfig):
    """The app of ``INSTALLED_APPS = ["django_tasks", …]``."""

    name = "django_tasks"
    label = "django_tasks"
    verbose_name = _("Tasks")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_tasks import system_checks

        system_checks.connect()
