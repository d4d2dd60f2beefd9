"""``python -m benchmarks.console --rows 1000000``: how long the pages of the console take.

Makes that many records in a database of its own on PostgreSQL, and pushes the queued ones to a
server of its own; asks for each page as a browser would, prints the time of the page, the time and
number of its queries, and the index that its walk used; then drops the database."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import Any

from benchmarks import machine
from benchmarks.server import Server

NAME = f"uncut_console_{os.getpid()}"
ROUNDS = 11

# A table as after weeks: nearly all succeeded; a backlog at the new end; failures here and there,
# those of the dead letters long ago. 48 bits of an id are its time.
ROWS = """
INSERT INTO django_tasks_taskrecord (
    id, task_name, description, queue_name, priority, args, kwargs, status, revision, fence, round,
    attempt, lost, max_attempts, run_after, expires, created_at, enqueued_at, started_at,
    finished_at, worker_id, return_value, error_class, error_message, traceback, dead_letter,
    metadata, headers, release, parent_id
)
SELECT
    (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7'
        || lpad(to_hex(i %% 4096), 3, '0') || '8' || substr(md5(i::text), 1, 15))::uuid,
    'shop.tasks.task_' || (i %% 40), 'task_' || (i %% 40) || '(' || i || ')',
    (ARRAY['default', 'mail', 'images'])[1 + i %% 3], 0, jsonb_build_array(i),
    jsonb_build_object('invoice', i), status, us, CASE WHEN status = 'READY' THEN 0 ELSE us END,
    1, (status = 'FAILED')::int, 0, 4, NULL, NULL, made, made,
    CASE WHEN status IN ('SUCCESSFUL', 'FAILED') THEN made + interval '1 second' END,
    CASE WHEN status IN ('SUCCESSFUL', 'FAILED') THEN made + interval '2 seconds' END,
    'host-' || (i %% 20) || ':' || (i %% 7), '"fine"',
    CASE WHEN status = 'FAILED' THEN 'builtins.ValueError' ELSE '' END,
    CASE WHEN status = 'FAILED' THEN 'why not' ELSE '' END,
    CASE WHEN status = 'FAILED' THEN repeat('  File "x.py", line 1' || chr(10), 30) ELSE '' END,
    CASE WHEN status = 'FAILED' AND i < %(rows)s / 20 THEN 'killed its process 3 times' ELSE '' END,
    '{}', NULL, '2.' || (i * 10 / %(rows)s), NULL
FROM (
    SELECT i, made, (extract(epoch FROM made) * 1000000)::bigint AS us, CASE
        WHEN i > %(rows)s - %(queued)s AND i %% 500 = 0 THEN 'RUNNING'
        WHEN i > %(rows)s - %(queued)s THEN 'READY'
        WHEN i %% 100 = 7 THEN 'FAILED'
        ELSE 'SUCCESSFUL' END AS status
    FROM (
        SELECT i, now() - interval '1 minute'
            - make_interval(secs => 30 * 86400.0 * (%(rows)s - i) / %(rows)s) AS made
        FROM generate_series(1, %(rows)s) AS i
    ) AS moments
) AS rows
"""

PAGES = {
    "the newest": "",
    "page 2": "before=HALF",
    "the oldest": "order=oldest",
    "state=FAILED": "state=FAILED",
    "state=SUCCESSFUL": "state=SUCCESSFUL",
    "state=RUNNING": "state=RUNNING",
    "state=READY, queue": "state=READY&queue=mail",
    "task": "task=shop.tasks.task_7",
    "task, FAILED": "task=shop.tasks.task_7&state=FAILED",
    "queue": "queue=images",
    "worker (found)": "worker=host-3:",
    "worker (not found)": "worker=nobody",
    "error class (found)": "error=ValueError",
    "error class (not found)": "error=NoSuchError",
    "release (old)": "release=2.1",
    "dates": "since=10d&until=9d",
    "dates, error class": "since=10d&until=9d&error=ValueError",
    "an id": "q=HALF",
    "key:value (not found)": "q=invoice:1",
    "key:value, task": "q=invoice:1&task=shop.tasks.task_7",
    "failed today": "state=FAILED&finished=today",
    "running long": "state=RUNNING&longer=5m&order=oldest",
    "waiting long": "state=waiting&longer=5m&order=oldest",
    "dead": "dead=1",
}


def prepare(url: str) -> None:
    """A database of its own, and Django set up for the admin."""
    import django
    from django.conf import settings

    from benchmarks.project import _address, _execute

    _execute(f"CREATE DATABASE {NAME}")
    apps = ("admin", "auth", "contenttypes", "messages", "sessions", "staticfiles")
    middleware = (
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    )
    processors = (
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    )
    settings.configure(
        SECRET_KEY="only for benchmarks",
        USE_TZ=True,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="demo_project.urls",
        STATIC_URL="static/",
        INSTALLED_APPS=[
            *(f"django.contrib.{name}" for name in apps),
            "django_tasks",
            "demo_project.audit",
        ],
        MIDDLEWARE=list(middleware),
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": list(processors)},
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": NAME,
                "CONN_MAX_AGE": None,
                **_address(),
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DJANGO_TASKS={"BROKER": url, "PREFIX": NAME},
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def fill(rows: int, queued: int) -> None:
    from django.db import connection

    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"rows": rows, "queued": queued})
        cursor.execute("VACUUM (ANALYZE) django_tasks_taskrecord")
        cursor.execute("SELECT pg_total_relation_size('django_tasks_taskrecord')")
        [size] = cursor.fetchone() or [0]
    took = time.monotonic() - began
    print(f"{rows:,} records, {size / 1e6:,.0f} MB with indexes, made in {took:.0f} s\n")


def push() -> None:
    """The queued ones' messages."""
    from django_tasks.broker import Broker
    from django_tasks.broker.message import Message
    from django_tasks.conf import task_settings
    from django_tasks.models import TaskRecord

    began = time.monotonic()
    broker = Broker(task_settings(), timeout=10.0)
    waiting: dict[str, list[Message]] = {}
    values = TaskRecord.objects.ready().values_list("id", "task_name", "queue_name").order_by("id")
    for record_id, task, queue in values:
        message = Message(id=str(record_id), task=task, queue=queue, args="[1]")
        waiting.setdefault(queue, []).append(message)
    for queue, messages in waiting.items():
        for start in range(0, len(messages), 1000):
            broker.push(queue, messages[start : start + 1000])
    total = sum(map(len, waiting.values()))
    print(f"{total:,} messages, pushed in {time.monotonic() - began:.0f} s\n")


def measure(client: Any, path: str) -> tuple[float, float, int, int, str]:
    """Best of some rounds: ms of the page, ms in the database, queries, rows shown; the index. The
    page is timed as it is served: noting its queries and templates comes afterwards."""
    from django.test.utils import setup_test_environment, teardown_test_environment

    took = min(_timed(client, path) for _ in range(ROUNDS))
    setup_test_environment()  # it notes what a page was made of
    try:
        looks = [_look(client, path) for _ in range(3)]
    finally:
        teardown_test_environment()
    spent, count, rows, walks = min(looks)
    return took, spent, count, rows, indexes(walks)


def _timed(client: Any, path: str) -> float:
    began = time.perf_counter()
    page = client.get(path)
    took = (time.perf_counter() - began) * 1000
    assert page.status_code == 200, page
    return took


def _look(client: Any, path: str) -> tuple[float, int, int, list[str]]:
    """ms in the database, queries, rows shown, and the statements that walked."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        page = client.get(path)
    listed = page.context["cl"] if page.context and "cl" in page.context else None
    assert not getattr(listed, "refused", ""), listed
    spent = sum(float(one["time"]) for one in queries) * 1000
    walks = [one["sql"] for one in queries if '"django_tasks_taskrecord"."id" AS' in one["sql"]]
    walks = walks or [one["sql"] for one in queries if "taskrecord" in one["sql"]]
    return spent, len(queries), len(getattr(listed, "result_list", ())), walks


def indexes(statements: list[str]) -> str:
    """What EXPLAIN names, in order."""
    from django.db import connection

    found: list[str] = []
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(f"EXPLAIN {statement}")
            for (line,) in cursor.fetchall():
                named = re.search(r"(?:using|on) (\w*taskrecord_\w+)|(Seq Scan|Sort)", line)
                if named and "Sort Key" not in line:
                    found.append((named[1] or named[2]).removeprefix("django_tasks_"))
    return " ".join(dict.fromkeys(found))


def others(queued: Any, failed: Any) -> dict[str, str]:
    """The pages beside the list."""
    from django.urls import reverse

    base = "admin:django_tasks_"
    everything = reverse(f"{base}taskrecord_deed", args=["retry"])
    return {
        "queue status": reverse(f"{base}queue_changelist"),
        "its renewal": reverse(f"{base}queue_fragment"),
        "a record, ready": reverse(f"{base}taskrecord_change", args=[queued]),
        "a record, failed": reverse(f"{base}taskrecord_change", args=[failed]),
        "retry one task's failed": f"{everything}?state=FAILED&task=shop.tasks.task_7",
        "retry all failed": f"{everything}?state=FAILED",
        "purge": f"{reverse(f'{base}queue_deed', args=['purge'])}?queue=mail",
    }


def run(rows: int, queued: int) -> None:
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    from django_tasks.models import TaskRecord

    fill(rows, queued)
    push()
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    # Any one in the middle: ids of a moment are next to each other.
    some = TaskRecord.objects.filter(task_name="shop.tasks.task_7").order_by("id")
    half = str(some.values_list("pk", flat=True)[rows // 100])
    base = reverse("admin:django_tasks_taskrecord_changelist")
    print(f"{'page':24} {'page ms':>8} {'db ms':>8} {'queries':>8} {'rows':>5}  index")
    pages = {name: f"{base}?{query.replace('HALF', half)}" for name, query in PAGES.items()}
    ready = TaskRecord.objects.ready().values_list("pk", flat=True)[:1][0]
    failed = TaskRecord.objects.failed().values_list("pk", flat=True)[:1][0]
    for name, address in {**others(ready, failed), **pages}.items():
        took, spent, count, shown, index = measure(client, address)
        print(f"{name:24} {took:8.1f} {spent:8.1f} {count:8} {shown:5}  {index}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, default=100_000, help="Of them.")
    given = parser.parse_args(arguments)
    machine.require_proc()
    print(f"{machine.description()}; load average {machine.load_average()}")
    with Server() as server:
        prepare(server.url)
        from django.db import connections

        from benchmarks.project import _drop_postgres

        try:
            run(given.rows, given.queued)
        finally:
            connections.close_all()
            _drop_postgres(NAME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
