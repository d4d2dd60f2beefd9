"""The addresses of a workflow's pages, and what stands there."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django.urls import reverse

from django_tasks.models import TaskRecord, Workflow

LIST = reverse("admin:django_tasks_workflow_changelist")
RECORDS = reverse("admin:django_tasks_taskrecord_changelist")
LOOKS = ("view_workflow", "view_taskrecord")


def page_of(made: Workflow) -> str:
    return reverse("admin:django_tasks_workflow_change", args=[made.pk])


def part_of(made: Workflow) -> str:
    return reverse("admin:django_tasks_workflow_part", args=[made.pk])


def deed_of(made: Workflow, deed: str) -> str:
    return reverse("admin:django_tasks_workflow_deed", args=[deed, made.pk])


def record_url(record: TaskRecord) -> str:
    return reverse("admin:django_tasks_taskrecord_change", args=[record.pk])


def text_of(answer: Any) -> str:
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def shown(client: Client, address: str, **words: str) -> str:
    return text_of(client.get(address, words))
