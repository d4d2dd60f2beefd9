"""`using(backoff=…)`: how soon one call is retried travels with it."""

from __future__ import annotations

import pytest

from django_tasks.broker import Broker
from django_tasks.conf import TaskSettings
from django_tasks.models import TaskRecord
from django_tasks.worker.run import Run
from tests import tasks


@pytest.mark.django_db(transaction=True)
def test_a_calls_own_backoff_reaches_the_worker(queue: TaskSettings) -> None:
    broker = Broker(queue)
    broker.beat(["default"], ["a"], register=True)

    tasks.add.using(retries=1, backoff=(5, 2, 60, False)).enqueue(1, 2)
    tasks.add.enqueue(1, 2)
    own, plain = broker.claim("default", "a", 2)

    policy = Run(own, "a", queue, task=tasks.add).retry_policy
    assert policy.delay_after(ValueError(), 1) == 5.0
    assert policy.delay_after(ValueError(), 2) is None
    assert Run(plain, "a", queue, task=tasks.add).retry_policy == tasks.add.options.retry_policy


@pytest.mark.django_db(transaction=True)
def test_a_calls_own_backoff_is_in_its_row(queue: TaskSettings) -> None:
    result = tasks.add.using(backoff=0).enqueue(1, 2)

    assert TaskRecord.objects.get(id=result.id).metadata["backoff"][0] == 0.0
