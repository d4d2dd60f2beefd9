import time, pytest
from django.db import connection
from django_tasks.worker.burst import burst
from django_tasks.conf import task_settings
from django_tasks.models import *
from tests.tasks import add
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("i", range(5))
def test_a(queue, i):
    t=time.time()
    r=add.enqueue(1,2)
    t1=time.time()
    burst(task_settings(), ["default"])
    t2=time.time()
    r.refresh()
    print(r, t1-t, t2-t1)
    assert r.return_value==3
    assert r.worker_ids, r
