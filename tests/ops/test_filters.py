"""Filters of records: what each finds on this database, and what is refused with a word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from django_tasks import django_task
from django_tasks.calls import registry
from django_tasks.models.record import new_id
from django_tasks.ops.filters import RecordFilter
from django_tasks.ops.moments import first_id, made_at, moment
from tests.ops.made import ADD, at, found, ids, make, refused

pytestmark = pytest.mark.django_db(transaction=True)


# -- what a filter finds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        {"state": "FAILED"},
        {"state": "failed,cancelled"},
        {"task": "tests.tasks.refund"},
        {"queue": "mail"},
        {"queue": "mail", "state": "FAILED"},
        {"task": "tests.tasks.refund", "state": "FAILED", "queue": "mail"},
        {"worker": "web-1:"},
        {"error": "builtins.TimeoutError"},
        {"error": "TimeoutError"},
        {"release": "2.4"},
        {"parent": "0192aaaa-0000-7000-8000-000000000001"},
        {"workflow": "0192aaaa-0000-7000-8000-00000000000a"},
        {"workflow": "0192aaaa-0000-7000-8000-00000000000a", "state": "final", "queue": "mail"},
        {"q": "tests.tasks.refund"},
        {"state": "FAILED", "finished": "1h"},
    ],
    ids=str,
)
def test_a_filter_finds_what_is_like_it_and_nothing_else(words: dict[str, str]) -> None:
    wanted = make(
        "FAILED",
        task_name="tests.tasks.refund",
        queue_name="mail",
        worker_id="web-1:77",
        error_class="builtins.TimeoutError",
        release="2.4",
        parent_id=UUID("0192aaaa-0000-7000-8000-000000000001"),
        workflow_id=UUID("0192aaaa-0000-7000-8000-00000000000a"),
        finished_at=timezone.now(),
    )
    make(queue_name="mails", worker_id="web-12:7", error_class="MyTimeoutError", release="2.41")
    other = UUID("0192aaaa-0000-7000-8000-00000000000b")
    make("READY", parent_id=UUID("0192aaaa-0000-7000-8000-000000000002"), workflow_id=other)

    assert found(**words) == [wanted.pk]
    assert list(RecordFilter.parse(words).queryset()) == [wanted]


@pytest.mark.parametrize("state", ["PENDING", "SCHEDULED", "READY", "RUNNING", "SUCCESSFUL"])
def test_each_state_is_found_in_every_queue(state: str) -> None:
    made = [make(state, queue_name=name) for name in ("mail", "default", "mail", "zebra")]
    make("FAILED")
    make("EXPIRED", queue_name="zebra")

    assert found(state=state) == ids(*made)
    assert found(state=state, queue="mail") == ids(made[0], made[2])


def test_groups_of_states_go_by_one_word() -> None:
    waiting = [make("PENDING"), make("READY", queue_name="b"), make("SCHEDULED")]
    running, over = make("RUNNING", queue_name="c"), make("CANCELLED")

    assert found(state="waiting") == ids(*waiting)
    assert found(state="unfinished") == ids(*waiting, running)
    assert found(state="final") == [over.pk]


def test_dates_are_those_of_the_creation_and_a_day_is_whole() -> None:
    noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    old, middle, new = (at(noon - timedelta(days=days)) for days in (3, 2, 1))
    day = f"{noon - timedelta(days=2):%Y-%m-%d}"

    assert found(since=day) == ids(middle, new)
    assert found(until=day) == ids(old, middle)
    assert found(since=day, until=day) == [middle.pk]
    assert found(since=f"{day} 12:00:01") == [new.pk]
    assert found(since="36h") == ([new.pk] if timezone.now() - noon < timedelta(hours=12) else [])
    assert moment("yesterday").date() == (noon - timedelta(days=1)).date()


def test_an_ids_time_is_told_back() -> None:
    now = timezone.now()

    assert abs(made_at(first_id(now)) - now) < timedelta(milliseconds=2)
    assert abs(made_at(new_id()) - now) < timedelta(seconds=5)


def test_a_search_is_for_an_id_or_a_task_or_the_last_part_of_its_name() -> None:
    one, other = make(), make(task_name="nobody.knows.this")

    assert found(q=str(other.pk)) == [other.pk]
    assert found(q=other.pk.hex) == [other.pk]
    assert found(q="add") == [one.pk]  # the registry knows tests.tasks.add
    assert found(q="nobody.knows.this") == [other.pk]
    assert found(q="unheard_of") == []
    assert found(q="add", task="nobody.knows.this") == []


# -- key:value ---------------------------------------------------------------------------------


def test_key_and_value_are_found_in_arguments_metadata_and_headers() -> None:
    number = make(kwargs={"invoice": 42})
    text = make(metadata={"invoice": "42"})
    header = make(headers={"invoice": 42.0})
    make(kwargs={"invoice": 421, "other": 42})
    deep = make(kwargs={"user": {"id": 7, "in": "Rome"}, 'it\'s "x"': True})

    assert set(found(q="invoice:42")) >= {number.pk, text.pk}
    assert set(found(q="invoice:42")) <= {number.pk, text.pk, header.pk}
    assert found(q="user.id:7") == [deep.pk]
    assert found(q="user.in:Rome") == [deep.pk]  # no lookup named "in"
    assert found(q="it's:x") == []
    assert found(q="user.id:8") == []


@pytest.mark.parametrize(
    ("kwargs", "q"),
    [
        ({"on": True}, "on:true"),
        ({"name": "Ada Lovelace"}, "name:Ada Lovelace"),
        ({"at": "12:30"}, "at:12:30"),
        ({"who": "a%_'\"\\b"}, "who:a%_'\"\\b"),
        ({"word": "null"}, "word:null"),
        ({"price": 1.5}, "price:1.5"),
        ({"empty": ""}, "empty:"),
    ],
    ids=str,
)
def test_any_plain_value_can_be_searched_for(kwargs: dict[str, Any], q: str) -> None:
    wanted = make(kwargs=kwargs)
    make(kwargs=dict.fromkeys(kwargs, "another"))
    make()

    assert found(q=q) == [wanted.pk]


def test_a_positional_argument_is_found_by_its_parameters_name() -> None:
    wanted = make(args=[1, 42])
    make(args=[42, 1])
    make(args=[1, 42], task_name="another.task")

    assert found(q="b:42") == [wanted.pk]
    assert found(q="b:42", task="add") == [wanted.pk]
    assert RecordFilter.parse({"q": "b:42"}).queryset().get() == wanted


def pay(order: int, voucher: str = "") -> None: ...


def note(order: int, **more: str) -> None: ...


@pytest.fixture
def secretive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks with sensitive arguments."""
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))
    django_task(name="shop.pay", sensitive=("voucher",))(pay)
    django_task(name="shop.note", sensitive=("more",))(note)


@pytest.mark.usefixtures("secretive")
def test_a_sensitive_argument_cant_be_searched_for_and_the_others_can() -> None:
    call: dict[str, Any] = {"kwargs": {"voucher": "V-77", "order": 7}}
    paid = make(task_name="shop.pay", metadata={"sensitive": ["voucher"]}, **call)
    older = make(task_name="shop.pay", **call)
    other = make(kwargs={"voucher": "V-77"})

    said = "voucher is a sensitive argument of shop.pay: nobody can search for it."
    assert refused(q="voucher:V-77").startswith(said)
    assert refused(q="voucher.number:V-77").startswith(said)
    assert refused(q="voucher:V-77", task="shop.pay") == said
    assert found(q="voucher:V-77", task=ADD) == [other.pk]
    assert found(q="order:7") == [older.pk, paid.pk]


@pytest.mark.usefixtures("secretive")
def test_nor_one_that_a_task_hides_among_its_others_or_that_is_gone_from_the_code() -> None:
    make(task_name="shop.note", kwargs={"order": 7, "pin": "1234"})
    make(task_name="shop.gone", kwargs={"pin": "1234"}, metadata={"sensitive": ["pin"]})
    seen = make(kwargs={"pin": "1234"})
    gone = make(task_name="shop.gone", kwargs={"pin": "1234"})
    make(task_name="shop.pay", args=[7, "pin"], kwargs={})

    assert found(q="pin:1234") == [gone.pk, seen.pk]


def test_a_database_that_cant_look_inside_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.features, "supports_json_field", False)

    assert refused(q="a:1") == "This database can't look into arguments (key:value)."


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"state": "FAILD"}, "'FAILD' is no state. Did you mean FAILED?"),
        ({"since": "soon"}, "'soon' is no moment. Like: 2026-11-25"),
        ({"until": "2026-02-30"}, "'2026-02-30' is no moment."),
        ({"until": "9999-12-31"}, "'9999-12-31' is no moment."),
        ({"longer": "a while"}, "'a while' is no span of time."),
        ({"longer": "9" * 30 + "d"}, "is no span of time."),
        ({"parent": "me"}, "'me' is not the id of a record."),
        ({"order": "random"}, "'random' is no order."),
        ({"database": "moon"}, "No database 'moon' holds records. There are: default."),
        ({"q": "two words"}, "Nothing is searched for the words 'two words'."),
        ({"status__exact": "FAILED"}, "'status__exact' is no filter of records."),
        ({"states": "FAILED"}, "'states' is no filter of records. Did you mean state?"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused_with_a_word(words: dict[str, str], said: str) -> None:
    make("FAILED")

    assert said in refused(**words)


def test_a_filter_is_the_same_again_by_its_query() -> None:
    wanted = RecordFilter.parse({"state": " FAILED ", "finished": "today", "queue": ""})

    assert wanted.to_query() == {"state": "FAILED", "finished": "today"}
    assert RecordFilter.parse(wanted.to_query()) == wanted
    assert found(**wanted.to_query()) == []
    assert wanted.to_query() == {"state": "FAILED", "finished": "today"}
