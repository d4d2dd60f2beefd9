"""Records of a test's own making, and the ids that a filter finds."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from model_bakery import baker

from django_tasks.errors import InvalidFilter
from django_tasks.models import TaskRecord
from django_tasks.models.record import new_id
from django_tasks.ops.filters import RecordFilter
from django_tasks.ops.moments import first_id
from django_tasks.ops.records import Page, search
from tests.tasks import add

ADD = add.module_path


def make(status: str = "SUCCESSFUL", **given: Any) -> TaskRecord:
    return baker.make(TaskRecord, status=status, **{"task_name": ADD, **given})


def at(moment: datetime, **given: Any) -> TaskRecord:
    """One that was made then: its id says so too."""
    offset = (first_id(moment).int - first_id(timezone.now()).int) >> 80
    made_id = UUID(int=new_id().int + (offset << 80))
    return make(id=made_id, created_at=moment, **given)


def found(page: Page | None = None, **words: str) -> list[UUID]:
    page = page or search(RecordFilter.parse(words))
    return [row.pk for row in page.rows]


def ids(*made: TaskRecord) -> list[UUID]:
    """Newest first."""
    return sorted((one.pk for one in made), reverse=True)


def refused(**words: str) -> str:
    with pytest.raises(InvalidFilter) as caught:
        search(RecordFilter.parse(words))
    return str(caught.value)
