"""What stands beside Django's own tests in django_suite.py: a backend whose calls a worker has run
when ``enqueue`` returns, the worker's log, and the table of what can't pass."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import TestSuite

import django
from django.test.runner import DiscoverRunner, iter_test_cases

from django_tasks import RedisBackend
from django_tasks.errors import ResultInsideTransaction, TaskFailed
from tests.worker.running import WAIT, Site


@dataclass(frozen=True)
class Listed:
    """A test that can't pass here. ``said``: what its failure says; ``why``: why that is right."""

    test: str
    said: str
    why: str


_CASE = "tasks.test_immediate_backend.ImmediateBackendTestCase."
_TRANSACTION = "tasks.test_immediate_backend.ImmediateBackendTransactionTestCase."
LISTED = (
    Listed(
        _CASE + "test_cannot_get_result",
        "'123' is not the id of a task result",
        "It demands that results can't be read; ours can be, and 123 is the id of none.",
    ),
    Listed(
        _CASE + "test_cannot_refresh_result",
        "NotImplementedError not raised",
        "It demands that results can't be read again; ours can be.",
    ),
    Listed(
        _CASE + "test_cannot_pass_run_after",
        "InvalidTask not raised",
        "It demands that run_after is refused; a queue can wait.",
    ),
    Listed(
        _CASE + "test_throws_keyboard_interrupt",
        "failed: KeyboardInterrupt: This Task failed due to KeyboardInterrupt",
        "Nobody pressed Ctrl-C here: in a worker the error is the task's own, and fails it.",
    ),
    Listed(
        _TRANSACTION + "test_doesnt_wait_until_transaction_commit_by_default",
        "TaskResultStatus.READY != TaskResultStatus.SUCCESSFUL",
        "It demands success inside the open transaction; law 2: nothing runs before the commit.",
    ),
    Listed(
        _CASE + "test_complex_return_value",
        "ReturnValueNotSerializable'> != <class 'TypeError'>",
        "It demands exactly TypeError; ours is a subclass of it, which names value and cure.",
    ),
    Listed(
        _CASE + "test_enqueue_logs",
        "'state=RUNNING' not found in 'DEBUG:django_tasks.worker:Started noop_task()",
        "It demands the words of Django's log lines; a worker's have the call, its time, its id.",
    ),
    Listed(
        _CASE + "test_failed_logs",
        "'state=RUNNING' not found in 'DEBUG:django_tasks.worker:Started failing_task_value",
        "It demands the words of Django's log lines, as above.",
    ),
)


class WorkerLog:
    """What the worker logs of its calls: datagrams on a socket in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "log")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)

    def settings(self) -> dict[str, Any]:
        """``LOGGING`` of the worker: its own logger and Django's, so that nothing said twice is
        missed."""
        handler = {"class": "logging.handlers.DatagramHandler", "host": self.path, "port": None}
        logger = {"handlers": ["suite"], "level": "DEBUG"}
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"suite": handler},
            "loggers": {"django_tasks.worker": logger, "django.tasks": logger},
        }

    def repeat(self) -> None:
        """Log here what came since."""
        logger = logging.getLogger("django.tasks")
        with contextlib.suppress(BlockingIOError):
            while True:
                # DatagramHandler's format: four bytes of length, then the record's attributes.
                record = logging.makeLogRecord(pickle.loads(self._socket.recv(1 << 20)[4:]))
                is_of_call = hasattr(record, "message_id") or record.name == "django.tasks"
                if is_of_call and logger.isEnabledFor(record.levelno):
                    logger.handle(record)

    def close(self) -> None:
        self._socket.close()


class WorkedBackend(RedisBackend):
    """Ours; what is enqueued has been run by a worker when ``enqueue`` returns."""

    log: WorkerLog
    runs = 0

    def enqueue_drafts(self, drafts: Any) -> Any:
        """Those still in an open transaction are as they are: no worker sees them."""
        for _, draft in drafts:
            draft.record.max_attempts = 1
        results = super().enqueue_drafts(drafts)
        for result in results:
            with contextlib.suppress(TaskFailed, ResultInsideTransaction):
                result.get(timeout=WAIT)
            WorkedBackend.runs += result.is_finished
        self.log.repeat()
        return results


class Runner(DiscoverRunner):
    """Django's, with a worker beside it, and the table of what can't pass."""

    def __init__(self, site: Site, task_class: str, **options: Any) -> None:
        super().__init__(**options)
        self.site = site
        self.task_class = task_class

    def build_suite(self, *arguments: Any, **options: Any) -> TestSuite:
        suite: TestSuite = super().build_suite(*arguments, **options)
        listed = {one.test for one in LISTED}
        for test in iter_test_cases(suite):
            type(test).databases = {"default"}
            test.__unittest_expecting_failure__ = test.id() in listed
        return suite

    def setup_databases(self, **options: Any) -> Any:
        made = super().setup_databases(**options)
        self.site.start("--processes", "1")
        WorkedBackend.log.repeat()
        return made

    def teardown_databases(self, *arguments: Any, **options: Any) -> None:
        self.site.stop()
        super().teardown_databases(*arguments, **options)

    def suite_result(self, suite: TestSuite, result: Any, **options: Any) -> int:
        """How many tests are not as they ought to be."""
        bad = len(result.failures) + len(result.errors)
        wrong = self._wrong(result)
        print("".join(f"WRONG: {line}\n" for line in wrong), end="")
        print(
            f"Django {django.get_version()}, tasks of {self.task_class}: {result.testsRun} tests,"
            f" {bad} failed, {len(result.expectedFailures)} failed as listed, {len(wrong)} wrong"
            f" otherwise; the worker ran {WorkedBackend.runs} calls.\n"
        )
        return bad + len(wrong)

    def _wrong(self, result: Any) -> list[str]:
        """What holds no longer of the table, or of the run as a whole."""
        failed = {test.id(): text for test, text in result.expectedFailures}
        passed = {test.id() for test in result.unexpectedSuccesses}
        wrong = [f"{test.id()} was skipped: {why}" for test, why in result.skipped]
        for one in LISTED:
            if one.test in passed:
                wrong.append(f"{one.test} passes: take it from the list")
            elif one.test not in failed:
                wrong.append(f"{one.test} is listed, and not there")
            elif one.said not in failed[one.test]:
                wrong.append(f"{one.test} fails by something else:\n{failed[one.test]}")
        return wrong if WorkedBackend.runs else [*wrong, "the worker ran nothing"]
