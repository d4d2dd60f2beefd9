"""Language and time zone travel with a task; who and what enqueued a call is noted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import timezone, translation

from django_tasks.calls.provenance import (
    LanguageAndTimeZone,
    _language_storage,
    _time_zone_storage,
    command_of,
)
from django_tasks.models import TaskRecord
from django_tasks.worker.burst import burst
from tests.calls import middlewares
from tests.calls.middlewares import (
    aenqueue_others,
    alook,
    atell_active,
    enqueue_others,
    leave_active,
    look,
    tell_active,
)
from tests.wheels import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
Work = Callable[..., None]


@pytest.fixture(autouse=True)
def _nothing_active() -> Any:
    yield
    translation.deactivate()
    timezone.deactivate()


def record_of(result: Any) -> TaskRecord:
    return TaskRecord.objects.get(pk=getattr(result, "id", result))


# -- language and time zone -------------------------------------------------------------------


@pytest.mark.parametrize("task", [tell_active, atell_active], ids=["plain", "coroutine"])
def test_language_and_time_zone_of_the_enqueue_are_active_in_the_body(
    work: Work, task: Any
) -> None:
    with translation.override("fr"), timezone.override("Asia/Tokyo"):
        result = task.enqueue()
    usual = task.enqueue()
    work()

    assert record_of(result).headers == {"language": "fr", "time_zone": "Asia/Tokyo"}
    assert result.get()[:3] == ["fr", "Asia/Tokyo", "Oui"]
    assert result.get()[3:] in ([], ["fr"])  # also in a thread that the coroutine started
    assert record_of(usual).headers is None
    assert usual.get()[:3] == ["en-us", "America/Chicago", "Yes"]


def test_a_call_by_aenqueue_carries_them_too(work: Work) -> None:
    async def view() -> Any:
        with translation.override("de"):
            return await tell_active.aenqueue()

    result = async_to_sync(view)()
    work()

    assert result.get()[0] == "de"


def test_the_workers_own_are_restored_after_the_body(work: Work) -> None:
    with translation.override("fr"), timezone.override("Asia/Tokyo"):
        tell_active.enqueue()
    work()

    assert middlewares.active() == ["en-us", "America/Chicago", "Yes"]
    assert not LanguageAndTimeZone().headers(None)
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        usual = tell_active.enqueue()
        work()
        assert middlewares.active()[:2] == ["de", "Asia/Tokyo"]
    assert usual.get()[:2] == ["de", "Asia/Tokyo"]


def test_what_an_earlier_body_left_active_is_not_the_next_ones(work: Work) -> None:
    leave_active.enqueue("fr")
    result = tell_active.enqueue()
    work()

    assert result.get() == ["en-us", "America/Chicago", "Yes"]


@pytest.mark.parametrize(
    ("zone", "kept", "shown"),
    [
        (ZoneInfo("Europe/Zurich"), "Europe/Zurich", "Europe/Zurich"),
        (timezone.get_fixed_timezone(-150), -150, "-0230"),
        (ZoneInfo("America/Chicago"), None, "America/Chicago"),
    ],
)
def test_a_time_zone_travels_by_its_name_or_as_minutes(
    work: Work, zone: Any, kept: Any, shown: str
) -> None:
    with timezone.override(zone):
        result = tell_active.enqueue()
    work()

    assert (record_of(result).headers or {}).get("time_zone") == kept
    assert result.get()[1] == shown


@pytest.mark.parametrize(
    "headers", [{"language": "../etc"}, {"language": 7}, {"time_zone": "Mars/Base"}]
)
def test_what_no_host_knows_fails_the_run(
    work: Work, settings: Any, headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_TASKS = {
        **settings.DJANGO_TASKS,
        "MIDDLEWARE": ["django_tasks.LanguageAndTimeZone", middlewares.PATH + "Wrong"],
    }
    monkeypatch.setattr(middlewares, "given", headers)

    result = tell_active.using(retries=0).enqueue()
    work()

    kept = record_of(result)
    assert kept.status == "FAILED"
    assert str(next(iter(headers.values()))) in kept.error_message


def test_where_nothing_is_active_is_known_without_asking_django() -> None:
    translation.deactivate()
    with translation.override("fr"), timezone.override("Asia/Tokyo"):
        assert _language_storage(None).data["value"].to_language() == "fr"
        assert _time_zone_storage(None).data["value"].key == "Asia/Tokyo"


# -- parents ----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [enqueue_others, aenqueue_others], ids=["plain", "coroutine"])
@pytest.mark.parametrize("record", ["first", "after"])
def test_what_a_task_enqueues_has_it_as_its_parent(work: Work, task: Any, record: str) -> None:
    outside = look.enqueue()
    result = task.using(record=record).enqueue()
    work()

    children = TaskRecord.objects.enqueued_by(result.id)
    assert sorted(str(one.id) for one in children) == sorted(result.get())
    assert TaskRecord.objects.enqueued_by(record_of(result)).count() == 2
    assert record_of(outside).parent_id is None
    assert record_of(look.enqueue()).parent_id is None  # no run is left over here


def test_a_child_whose_row_the_mirror_writes_has_its_parent(
    work: Work, settings: Any, queue: Any
) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "RECORD": "after", "RELEASE": "r1"}

    result = enqueue_others.enqueue()
    work()

    children = TaskRecord.objects.enqueued_by(result.id)
    assert {str(one.id) for one in children} == set(result.get())
    assert {(one.headers, one.release) for one in children} == {(None, "r1")}


# -- requests ---------------------------------------------------------------------------------


def shop_view(request: Any) -> HttpResponse:
    return HttpResponse(look.enqueue().id)


async def ashop_view(request: Any) -> HttpResponse:
    return HttpResponse((await alook.aenqueue()).id)


def deep_view(request: Any) -> HttpResponse:
    return HttpResponse(enqueue_others.enqueue().id)


urlpatterns = [
    path("buy/", shop_view, name="buy"),
    path("abuy/", ashop_view, name="abuy"),
    path("deep/", deep_view, name="deep"),
]


@pytest.fixture
def site(settings: Any, queue: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["django_tasks.request_middleware", *settings.MIDDLEWARE]


@pytest.mark.parametrize("view", ["buy", "abuy"])
def test_a_call_made_in_a_request_notes_view_and_request_id(site: None, view: str) -> None:
    answer = Client().get(f"/{view}/", headers={"X-Request-ID": "a1:b/2"})

    assert record_of(answer.content.decode()).headers == {"view": view, "request_id": "a1:b/2"}
    assert record_of(look.enqueue()).headers is None  # the request is over


@pytest.mark.parametrize("view", ["buy", "abuy"])
def test_under_asgi_too(site: None, view: str) -> None:
    async def ask() -> Any:
        return await AsyncClient().get(f"/{view}/", headers={"X-Request-ID": "a1"})

    answer = async_to_sync(ask)()

    assert record_of(answer.content.decode()).headers == {"view": view, "request_id": "a1"}


@pytest.mark.parametrize("given", ["", "a" * 129, "<b>", "a b", "\u202ea", "é"])
def test_a_request_id_that_is_none_is_left_out(site: None, given: str) -> None:
    answer = Client().get("/buy/", headers={"X-Request-ID": given})

    assert record_of(answer.content.decode()).headers == {"view": "buy"}


def test_the_user_is_noted_only_by_choice(site: None, settings: Any) -> None:
    client, user = Client(), User.objects.create_user("ann")
    client.force_login(user)

    silent = record_of(client.get("/buy/").content.decode())
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "PROVENANCE_USER": True}
    noted = record_of(client.get("/abuy/").content.decode())
    nobody = record_of(Client().get("/buy/").content.decode())

    assert silent.headers == nobody.headers == {"view": "buy"}
    assert noted.headers == {"view": "abuy", "user": str(user.pk)}


def test_a_task_hands_request_id_and_user_on(site: None, settings: Any, work: Work) -> None:
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "PROVENANCE_USER": True}
    client, user = Client(), User.objects.create_user("ann")
    client.force_login(user)

    parent = client.get("/deep/", headers={"X-Request-ID": "a1"}).content.decode()
    work()

    children = TaskRecord.objects.enqueued_by(parent)
    assert [one.headers for one in children] == [{"request_id": "a1", "user": str(user.pk)}] * 2


# -- commands, releases, filters --------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("manage.py close_day", "close_day"),
        ("/srv/shop/manage.py close_day --fast", "close_day"),
        ("/usr/bin/django-admin shell", "shell"),
        ("/lib/django/__main__.py close_day", "close_day"),
        ("manage.py runserver", ""),
        ("manage.py runworker", ""),
        ("manage.py test", ""),
        ("manage.py --help", ""),
        ("manage.py", ""),
        ("/usr/bin/gunicorn shop.wsgi", ""),
        ("/lib/pytest/__main__.py tests", ""),
        ("", ""),
    ],
)
def test_a_management_command_is_known_by_the_command_line(line: str, name: str) -> None:
    assert command_of(line.split()) == name


def test_a_command_that_enqueues_is_noted(settings: Any, queue: Any, tmp_path: Any) -> None:
    program = (
        "import os, sys; sys.argv = ['manage.py', 'close_day'];"
        "import django; django.setup();"
        "from tests.tasks import add; print(add.s(1, 2).draft().record.headers)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "{'command': 'close_day'}"


def test_records_are_found_by_release_and_headers(
    queue: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_TASKS = {
        **settings.DJANGO_TASKS,
        "MIDDLEWARE": [middlewares.PATH + "Wrong"],
        "RELEASE": "2026-11-26",
    }
    made = []
    for given in (
        {"view": "shop:buy", "user": "7"},
        {"view": "shop:buy", "contains": 'a"b\\c'},
        {"view": "shop:pay", "n": 7, "exact": "x'"},
        {},
    ):
        monkeypatch.setattr(middlewares, "given", given)
        made.append(look.enqueue().id)
    settings.DJANGO_TASKS = {**settings.DJANGO_TASKS, "RELEASE": "next"}
    made.append(look.enqueue().id)
    objects = TaskRecord.objects

    def found(**headers: Any) -> list[int]:
        return sorted(made.index(str(one.pk)) for one in objects.with_header(**headers))

    assert found(view="shop:buy") == [0, 1]
    assert found(view="shop:buy", user="7") == [0]
    assert found(contains='a"b\\c') == [1]
    assert found(exact="x'") == found(n=7) == [2]
    assert found(view="shop") == found(user="8") == found(missing="x") == []
    assert objects.of_release("2026-11-26").count() == 4
    assert objects.with_header(view="shop:buy").in_queue("default").count() == 2


def test_a_burst_inside_a_task_gives_the_parent_back(work: Work, queue: Any) -> None:
    from django_tasks.calls.provenance import running

    assert running.get() is None
    enqueue_others.enqueue()
    burst(queue, ["default"])

    assert running.get() is None
