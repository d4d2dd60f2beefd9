"""supervisor: signals, deaths and leases; what runs is finished, given back or taken back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker import live_tasks as tasks
from tests.worker.conftest import MakeSite
from tests.worker.running import WAIT, Site, processes

LEASE = 1.0


def test_processes_have_titles(live: Site) -> None:
    pytest.importorskip("setproctitle", reason='titles need the extra "title"')
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("titles are read from /proc here")
    worker, queues = live.workers[0], "default, audit, bulk, mail"
    name = next(iter(live.consumers())).rpartition(":")[0]
    wanted = {
        f"uncut: supervisor of {queues}",
        f"uncut: keeper of {name}",
        *(f"uncut: child {consumer} of {queues}" for consumer in live.consumers()),
    }

    def titles() -> set[str]:
        pages = [Path(f"/proc/{pid}/cmdline") for pid in worker.group()]
        return {page.read_text().strip("\0") for page in pages}

    # A process that was just forked has its parent's title.
    wait_until(lambda: titles() == wanted, WAIT, f"{wanted}")


def test_a_worker_describes_itself_to_who_lists_workers(live: Site) -> None:
    [described] = live.descriptions()

    assert described["queues"] == '["default","audit","bulk","mail"]'
    assert described["processes"] == "2"
    assert described["stopping"] == "0"
    assert set(live.consumers().values()) < live.workers[0].group()


def test_sigterm_lets_running_tasks_end_and_gives_back_the_rest(site: Site) -> None:
    worker = site.start("--processes", "1")
    running, waiting = tasks.hold.enqueue("running"), tasks.hold.enqueue("waiting")
    site.wait_for("began running")

    worker.terminate()

    worker.wait_for_line("Stopping: running tasks have 30 s to end")
    site.let_go("running")
    assert worker.ended() == 0
    assert worker.group() == set()
    assert site.attempts(site.record(running, "SUCCESSFUL")) == ["succeeded"]
    assert site.record(waiting, "READY").lost == 0
    assert site.told("began waiting") == []
    assert worker.lines("Traceback") == []


@pytest.mark.parametrize("ends", ["grace", "second-signal"])
def test_what_does_not_end_in_time_is_killed_and_given_back_uncharged(
    site: Site, ends: str
) -> None:
    worker = site.start("--processes", "1", "--grace", "0.2" if ends == "grace" else "60")
    result = tasks.hold.enqueue("late")
    [line] = site.wait_for("began late")

    worker.terminate()
    if ends == "second-signal":
        worker.wait_for_line("Stopping")
        worker.terminate()

    assert worker.ended(10) == 0
    assert line.pid not in processes()
    record = site.record(result, "READY")
    assert (record.lost, record.attempt) == (0, 0)
    assert site.attempts(record) == ["stopped"]
    assert site.told("ended late") == []
    assert worker.lines("The grace period is over for")


def test_a_stopped_run_has_the_number_of_its_attempt(site: Site) -> None:
    worker = site.start("--processes", "1", "--grace", "0")
    result = tasks.hold_second.enqueue("second")
    site.wait_for("began second")

    worker.terminate()

    assert worker.ended() == 0
    record = site.record(result, "READY")
    runs = record.attempts.order_by("fence").values_list("outcome", "number")
    assert list(runs) == [("retried", 1), ("stopped", 2)]


def test_ctrl_c_in_a_terminal_lets_running_tasks_end(site: Site) -> None:
    worker = site.start("--processes", "2")
    result = tasks.hold.enqueue("terminal")
    site.wait_for("began terminal")

    worker.kill_group(signal.SIGINT)

    worker.wait_for_line("Stopping")
    assert worker.is_running()
    site.let_go("terminal")
    assert worker.ended() == 0
    assert site.attempts(site.record(result, "SUCCESSFUL")) == ["succeeded"]
    assert len(worker.lines("Stopping")) == 1
    assert worker.lines("Traceback") == []


def test_a_host_that_died_is_noticed_when_its_lease_ends(make_site: MakeSite) -> None:
    site = make_site(tasks={"LEASE": LEASE})
    dying = site.start("--processes", "1", "default")
    result = tasks.hold.enqueue("host")
    [first] = site.wait_for("began host")
    heir = site.start("--processes", "1", "default")

    dying.kill_group(signal.SIGKILL)

    [_, second] = site.wait_for("began host", times=2)
    assert second.pid in set(site.consumers().values())
    heir.wait_for_line("Took back 1 messages of", "whose lease ran out")
    site.let_go("host")
    record = site.record(result, "SUCCESSFUL")
    assert record.lost == 1  # held alone: it may have killed the host
    assert site.attempts(record) == ["lost", "succeeded"]
    assert first.pid not in processes()


def test_children_and_keeper_end_with_their_supervisor(site: Site) -> None:
    worker = site.start("--processes", "2")
    tasks.hold.enqueue("orphan")
    site.wait_for("began orphan")
    assert len(worker.group()) == 4

    os.kill(worker.pid, signal.SIGKILL)
    worker.ended()

    wait_until(lambda: worker.group() == set(), 5, "children and keeper ended")


def test_a_worker_with_nothing_to_do_stops_at_once(site: Site) -> None:
    worker = site.start("--processes", "2")

    worker.terminate()

    assert worker.ended(5) == 0
    assert site.descriptions() == []
    client, keys = site.broker.client, site.broker.keys("default")
    assert client.zcard(keys.workers) == 0


def test_the_supervisor_holds_no_database_connection(make_site: MakeSite) -> None:
    # Importing this project's tasks opens a connection, as careless projects do.
    site = make_site(settings={"UNCUT_TOUCHES_DATABASE": True}, database={"CONN_MAX_AGE": None})
    worker = site.start("--processes", "1")

    answer = tasks.count_rows.enqueue()

    assert site.record(answer, "SUCCESSFUL").return_value == 1
    assert site.told("import opened a connection")
    database = Path(site.database_name())
    if not database.is_file():
        pytest.skip("which connections a process has open can be seen of a file only")
    if not Path("/proc/self/fd").exists():
        pytest.skip("the files that a process has open can be seen in /proc only")
    keeper = site.keeper(worker)
    assert keeper is not None
    wait_until(lambda: database in open_files(keeper), message="the keeper uses the database")
    assert database not in open_files(worker.pid)


def open_files(pid: int) -> set[Path]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(link.readlink())
        except FileNotFoundError:
            continue
    return found
