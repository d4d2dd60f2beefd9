"""The outbox inside a TestCase: its transaction never commits, its hooks stay in the list."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import TestCase

from django_tasks.conf import task_settings
from tests.bridge.calls import noted, numbers
from tests.tasks import add


@pytest.mark.usefixtures("queue")
class InTestCase(TestCase):
    """As users write it."""

    def test_each_capture_pushes_what_was_enqueued_in_it(self) -> None:
        for number in range(2):
            with self.captureOnCommitCallbacks(execute=True) as hooks:
                add.enqueue(number, 1)
                noted.enqueue(number)
            assert len(hooks) == 1
        assert numbers(task_settings()) == [0, 0, 1, 1]

    def test_what_was_pushed_can_be_waited_for(self) -> None:
        from django_tasks.worker.burst import burst

        with self.captureOnCommitCallbacks(execute=True):
            result = add.enqueue(1, 2)
        burst(task_settings(), ["default"])

        assert result.get(timeout=1) == 3


def test_an_enqueue_before_the_first_capture_is_not_taken_for_pushed(
    queue: Any, db: None, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        add.enqueue(1, 1)

    with django_capture_on_commit_callbacks(execute=True) as hooks:
        add.enqueue(2, 1)

    assert len(hooks) == 1
    assert numbers(task_settings()) == [1, 2]
