"""One Message → one Outcome: find the task, bind, call, say how it ended. Nothing escapes."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from functools import lru_cache, partial
from inspect import iscoroutinefunction
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import TransactionManagementError

from django_tasks.bridge.connections import begin_run, end_run, left_open
from django_tasks.broker.message import VERSION, Message, Outcome, to_json
from django_tasks.calls import registry
from django_tasks.calls.arguments import checked_return_value, require_fit
from django_tasks.calls.backend import RedisBackend
from django_tasks.calls.context import RunCancelled, TaskContext
from django_tasks.calls.middleware import execute_through, plan_of
from django_tasks.calls.own_workflow import OwnWorkflow
from django_tasks.calls.progress import Reporter
from django_tasks.calls.provenance import running
from django_tasks.calls.result import TaskResult
from django_tasks.calls.retries import Snooze
from django_tasks.calls.shown import inert
from django_tasks.conf import TaskSettings
from django_tasks.errors import (
    ArgumentMismatch,
    BrokerError,
    TaskQueueError,
    UndecodableMessage,
    UnknownTask,
)
from django_tasks.framework import TaskError, to_django
from django_tasks.states import Result, State, django_status
from django_tasks.task_signals import send, task_finished, task_started
from django_tasks.worker.atomic import LATER, CommitUnknown, RowDecides, run_atomically
from django_tasks.worker.cancellation import call, call_coroutine, was_asked
from django_tasks.worker.inputs import InputsAway, inputs_of
from django_tasks.worker.run import Run, Tell
from django_tasks.worker.telling import error_fields, line_of, logged

logger = logging.getLogger("django_tasks.worker")

ANOTHER_RELEASE = 15.0  # seconds until a name that another release may know is asked again
_is_coroutine = lru_cache(maxsize=1024)(iscoroutinefunction)


def execute(
    message: Message,
    consumer: str,
    settings: TaskSettings,
    alias: str = "default",
    tell: Tell | None = None,
) -> Outcome:
    """Run a message's task. Every error of every kind ends the run, never the worker."""
    run = Run(message, consumer, settings, alias, tell=tell)
    try:
        _prepare(run)
    except InputsAway as error:
        logger.warning("%s is given back: %s", run, error, extra=run.extra)
        return Outcome(message, Result.SNOOZED.value, LATER)
    except Exception as error:  # also what nobody foresaw: a dead letter, not a dead process
        return _unrunnable(run, error)
    outer = begin_run()
    token = running.set(run)  # what it enqueues has it as its parent
    try:
        run.started = time.time()
        if run.options.atomic:
            value = run_atomically(run.message, run.consumer, lambda: _value(run))
        else:
            value = _value(run)
        _require_no_open_transaction(run, outer)
        if run.own is not None and run.own.replacement is not None:
            outcome = _replaced(run, run.own)
        else:
            outcome = _succeeded(run, value)
    except RowDecides as decision:
        logger.warning("%s has no effect: its row is %s", run, decision, extra=run.extra)
        outcome = Outcome.forgotten(message, decision.word)
    except CommitUnknown:
        logger.warning("%s is given back: its commit was cut off", run, extra=run.extra)
        outcome = Outcome(message, Result.SNOOZED.value, LATER)
    # SystemExit, KeyboardInterrupt and MemoryError too: they are the task's, not the worker's.
    except BaseException as error:
        outcome = _told(run, error)
    finally:
        running.reset(token)
        end_run(outer, is_cut=was_asked(message.fence))
        if run.reporter is not None:
            run.reporter.end()
    if run.untold is not None:
        _tell_finished(run, State.FAILED, error=run.untold)
    return outcome


def _value(run: Run) -> Any:
    return checked_return_value(str(run.task.func.__name__), _call(run))


def _told(run: Run, error: BaseException) -> Outcome:
    try:
        return _ended_by(run, error)
    except Exception as trouble:  # e.g. a delay that is no number: the run failed all the same
        line, shown = logged(trouble, run.shown)
        logger.error(
            "%s failed, and how can't be told: %s",
            run,
            line,
            exc_info=shown,
            extra=run.extra,
        )
        return _outcome(run, Result.FAILED, error=trouble)


def _require_no_open_transaction(run: Run, outer: frozenset[str]) -> None:
    """What a task wrote in a transaction that nobody will commit is lost: it did not succeed."""
    for alias in left_open(outer):
        raise TransactionManagementError(
            f"{run.task.func.__name__}() left a transaction open on {alias!r}, and what it wrote"
            " there is rolled back. Write `with transaction.atomic(): …`."
        )


def _prepare(run: Run) -> None:
    """Raises what makes a message impossible to run here."""
    if run.message.broken:
        raise UndecodableMessage(f"The message can't be read: {run.message.broken}")
    if run.message.version > VERSION:
        raise UnknownTask(f"The message has the format {run.message.version}, newer than ours.")
    run.task = registry.find(run.message.task)
    run.args, run.kwargs = run.message.decoded_arguments()
    if run.message.inputs:
        run.args = [*inputs_of(run.message, run.alias), *run.args]
    if run.message.headers:
        run.headers = run.message.decoded_headers()
    if run.message.backoff:
        try:
            run.retry_policy  # noqa: B018 (read now, so that a failure finds it readable)
        except (ValueError, TypeError, RecursionError) as error:
            raise UndecodableMessage(f"The backoff can't be read: {error}") from error
    if run.options.atomic and run.message.database not in connections:
        raise UndecodableMessage(f"Its row's database, {run.message.database!r}, is unknown here.")
    require_fit(run.task.func, run.task.takes_context, run.args, run.kwargs)


def _call(run: Run) -> Any:
    if run.task.takes_context or task_started.receivers or task_finished.receivers:
        run.result = _task_result(run)
    if task_started.receivers:
        _send(run, task_started)
    if logger.isEnabledFor(logging.DEBUG):  # the texts of a line cost more than a short task
        logger.debug("Started %s", run, extra=run.extra)
    args = run.args
    if run.task.takes_context:
        clean = run.shown if run.options.sensitive else None
        tell = run.tell and partial(run.tell, run.message)
        run.reporter = Reporter(run.message.fence, tell, clean)
        run.own = OwnWorkflow(run.id, run.message.database, is_atomic=run.options.atomic)
        context = TaskContext(
            task_result=run.result,
            number=run.attempt,
            headers=run.headers,
            reporter=run.reporter,
            own=run.own,
        )
        args = [context, *args]
    body, fence = run.task.call, run.message.fence
    if _is_coroutine(run.task.func):
        body, args = call_coroutine, [run.task.acall, *args]
    plan = plan_of(run.settings.middleware)
    for applies, _ in plan.executes:
        if applies is None or applies(run):
            return execute_through(plan, run, partial(call, fence, body, *args, **run.kwargs))
    return call(fence, body, *args, **run.kwargs)


def _succeeded(run: Run, value: Any) -> Outcome:
    returned = None if value is None else to_json(value)
    outcome = _outcome(run, Result.SUCCEEDED, return_value=returned)
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s succeeded in %.3f s", run, outcome.run, extra=run.extra)
    _tell_finished(run, State.SUCCESSFUL, value=value)
    return outcome


def _replaced(run: Run, own: OwnWorkflow) -> Outcome:
    """Its value is another call's, which runs once this one is acknowledged."""
    try:
        heir = own.hand_over()
    except BrokerError as error:
        logger.warning("%s is given back: %s", run, error, extra=run.extra)
        return Outcome(run.message, Result.SNOOZED.value, LATER)
    done = _succeeded(run, None)
    return Outcome(run.message, done.word, 0.0, done.run, {**done.fields, "replaced_by": heir})


def _ended_by(run: Run, error: BaseException) -> Outcome:
    if isinstance(error, Snooze):
        delay = run.retry_policy.backoff.delay(run.attempt) if error.delay is None else error.delay
        logger.info("%s snoozes for %.1f s", run, delay, extra=run.extra)
        return _outcome(run, Result.SNOOZED, delay, error=error)
    if isinstance(error, RunCancelled):
        logger.info("%s was cancelled while it ran", run, extra=run.extra)
        outcome = _outcome(run, Result.CANCELLED)
        _tell_finished(run, State.CANCELLED)
        return outcome
    is_expected = isinstance(error, run.options.throws)
    wait = None if is_expected else run.retry_policy.delay_after(error, run.attempt)
    if wait is not None:
        logger.warning(
            "%s failed (attempt %d of %d), again in %.1f s: %s",
            run,
            run.attempt,
            run.message.max_attempts,
            wait,
            line_of(error, run.shown),
            extra=run.extra,
        )
        return _outcome(run, Result.RETRIED, wait, error=error)
    if is_expected:
        logger.info(
            "%s ended as expected: %s",
            run,
            line_of(error, run.shown),
            extra=run.extra,
        )
    else:
        line, shown = logged(error, run.shown)
        logger.error("%s failed: %s", run, line, exc_info=shown, extra=run.extra)
    outcome = _outcome(run, Result.FAILED, error=error)
    if run.options.sensitive:
        run.untold = error
    else:
        _tell_finished(run, State.FAILED, error=error)
    return outcome


def _unrunnable(run: Run, error: Exception) -> Outcome:
    """A dead letter with its reason; unless another release of the project may know better."""
    message = run.message
    is_foreign = message.release != run.settings.release and bool(message.release)
    if isinstance(error, UnknownTask | ArgumentMismatch) and (
        message.version > VERSION or (is_foreign and _is_recent(run))
    ):
        logger.warning("Given back for another release: %s", inert(error), extra=run.extra)
        return Outcome(message, Result.SNOOZED.value, ANOTHER_RELEASE)
    is_known = isinstance(error, TaskQueueError)
    line, shown = (inert(error), None) if is_known else logged(error, run.shown)
    logger.error("Dead letter %s: %s", message.id, line, exc_info=shown, extra=run.extra)
    outcome = _outcome(run, Result.FAILED, error=error)
    word = outcome.word
    if isinstance(error, UndecodableMessage):
        word = "undecodable" if message.broken else word
        if message.broken:
            outcome.fields["record"] = "unreadable"
            # Where the reason reaches a row, whatever it said.
            known = message.database in connections
            outcome.fields["database"] = message.database if known else DEFAULT_DB_ALIAS
    outcome.fields["dead_letter"] = str(error) if is_known else line
    return Outcome(message, word, 0.0, outcome.run, outcome.fields)


def _is_recent(run: Run) -> bool:
    enqueued = run.message.enqueued_at
    return enqueued is None or time.time() - enqueued.timestamp() < run.settings.unknown_task_grace


def _outcome(
    run: Run,
    result: Result,
    delay: float = 0.0,
    *,
    error: BaseException | None = None,
    return_value: str | None = None,
) -> Outcome:
    """What the ack writes: the message's last words, and this run as an attempt."""
    started, finished = round(run.started * 1e6), time.time()
    report = run.reporter.report if run.reporter is not None else ""
    fields = {
        "started_at": str(started),
        "worker_id": run.consumer,
    }
    if result is not Result.SUCCEEDED:  # that one, its message tells by itself (snapshot.py)
        attempt = {
            "number": run.attempt,
            "consumer": run.consumer,
            "claimed_at": run.message.fence,
            "started_at": started,
            "finished_at": round(finished * 1e6),
            "outcome": result.value,
            **{name: text for name, text in error_fields(error, run.shown).items() if text},
        }
        note = to_json(attempt)
        fields[f"attempt:{run.message.fence}"] = (
            f'{note[:-1]},"report":{report}}}' if report else note
        )
    if report:
        fields["report"] = report
    if result is not Result.SNOOZED and (error is not None or run.message.attempt):
        fields.update(error_fields(error, run.shown))  # "" overwrites what an earlier attempt left
    if result in (Result.SUCCEEDED, Result.FAILED, Result.CANCELLED):
        fields["finished_at"] = str(round(finished * 1e6))
    if return_value is not None:
        fields["return_value"] = return_value
    return Outcome(run.message, result.value, delay, finished - run.started, fields)


def _task_result(run: Run) -> TaskResult:
    message = run.message
    started = datetime.fromtimestamp(run.started, UTC)
    task = registry.variant(  # as using() made it for this call
        run.task, queue_name=message.queue, priority=message.priority, backend=run.alias
    )
    return TaskResult(
        task=task,
        id=message.id,
        status=django_status(State.RUNNING),
        enqueued_at=message.enqueued_at,
        started_at=started,
        finished_at=None,
        last_attempted_at=started,
        args=run.args,
        kwargs=run.kwargs,
        backend=run.alias,
        errors=[],
        worker_ids=[run.consumer] * run.attempt,
        state=State.RUNNING.value,
        database=message.database,
    )


def _tell_finished(
    run: Run, state: State, *, value: Any = None, error: BaseException | None = None
) -> None:
    if run.result is None or not task_finished.receivers:
        return
    result = run.result
    changes: dict[str, Any] = {
        "status": django_status(state),
        "state": state.value,
        "finished_at": to_django(datetime.now(UTC)),
        "_return_value": value,
    }
    if error is not None:
        said = error_fields(error, run.shown)
        changes["errors"] = [
            TaskError(exception_class_path=said["error_class"], traceback=said["traceback"])
        ]
        changes.update(said)
    for name, changed in changes.items():
        object.__setattr__(result, name, changed)
    _send(run, task_finished)


def _send(run: Run, signal: Any) -> None:
    try:
        failures = send(signal, RedisBackend, run.result)
    except BaseException as end:  # a receiver's SystemExit is no reason for a worker to end
        failures = [(signal, end)]
    for receiver, error in failures:
        line, shown = logged(error, run.shown)
        logger.warning(
            "A receiver of a task signal failed for %s: %r: %s",
            run,
            receiver,
            line,
            exc_info=shown,
            extra=run.extra,
        )
