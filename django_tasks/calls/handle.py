"""WorkflowHandle: a workflow as its user holds it. Add to it, see how far it is, cancel it.

``workflow("import")`` makes one, ``get_workflow(id)`` finds one, ``context.workflow`` is a running
task's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from asgiref.sync import sync_to_async
from django.utils import timezone

from django_tasks.calls import result
from django_tasks.calls.canvas import (
    Element,
    Node,
    Shape,
    backend_of,
    checked_element,
    earlier,
    lay,
    values,
)
from django_tasks.calls.canvas import leaves as leaves_of
from django_tasks.calls.dependency import Dependency, checked_dependencies, checked_policy, several
from django_tasks.calls.group_result import GroupResult
from django_tasks.calls.progress import Progress
from django_tasks.calls.registry import databases
from django_tasks.calls.workflows import (
    checked_name,
    lay_down,
    require_no_cycle,
    require_one_home,
    result_of,
    write,
)
from django_tasks.errors import InvalidWorkflow, ResultNotFound
from django_tasks.states import Policy, State

if TYPE_CHECKING:
    from django_tasks.bridge.deeds import Done
    from django_tasks.bridge.outbox import Draft
    from django_tasks.models import Workflow
    from django_tasks.models.record import TaskRecordQuerySet
    from django_tasks.models.workflow import Counts


class WorkflowHandle:
    """As a ``with`` block it is written at its end: one transaction, one push. Else each ``add`` is
    enqueued by itself."""

    def __init__(self, row: Workflow, ids: Iterator[UUID] | None = None) -> None:
        self._row = row
        self._ids = ids  # of what a running task adds: the same whenever it runs again
        self._open: list[tuple[Any, Draft]] | None = None

    def __repr__(self) -> str:
        return f"<workflow {self.name or self.kind} {self.id}>"

    @property
    def row(self) -> Workflow:
        """The model's instance."""
        return self._row

    @property
    def id(self) -> str:
        return str(self.row.pk)

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def kind(self) -> str:
        return self.row.kind

    def __enter__(self) -> Self:
        if self._open is not None:
            raise InvalidWorkflow("This workflow is open already: one `with` block at a time.")
        self._open = []
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        made, self._open = self._open or [], None
        try:
            if kind is None and made:
                self._write(made)
        finally:
            _laid_down().difference_update(str(draft.record.id) for _, draft in made)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        await sync_to_async(self.__exit__)(kind, error, traceback)

    def add(
        self,
        call: Element,
        *,
        after: Any = None,
        policy: str = Policy.SUCCESS.value,
        before: Any = None,
    ) -> Any:
        """Add a call, chain, group or chord; returns its result.

        ``after``: what it waits for: results (of this workflow, or any that were enqueued),
        records, ``Dependency``, or lists of these. ``s()`` takes the value of what it waits for,
        of a list the list of values, as its first argument; ``si()`` takes none. ``policy``: after
        which end. ``before``: results of this same block, which are to wait for it.

        Raises ``InvalidWorkflow``, ``InvalidTaskOptions``, and what an enqueue raises."""
        nodes: list[Node] = []
        shape = lay(
            checked_element(call),
            nodes,
            None if after is None else _shape(after),
            checked_policy(policy),
        )
        if not nodes:  # an empty group
            return GroupResult(self.id, [])
        backend = backend_of(nodes)
        drafts = lay_down(backend, nodes, self._ids)
        pairs = [(node.signature.task, draft) for node, draft in zip(nodes, drafts, strict=True)]
        if before is not None:
            own = {id(node): draft for node, draft in zip(nodes, drafts, strict=True)}
            self._put_before(before, [own[id(one)] for one in leaves_of(shape)])
        if self._open is None:
            self._write(pairs)
        else:
            self._open += pairs
            _laid_down().update(str(draft.record.id) for draft in drafts)
        return result_of(values(shape), nodes, drafts, backend, self.id)

    async def aadd(self, call: Element, **given: Any) -> Any:
        """``add`` for asyncio; inside of a ``with`` block ``add`` itself asks no database."""
        return await sync_to_async(self.add)(call, **given)

    def _put_before(self, results: Any, parents: list[Draft]) -> None:
        from django_tasks.bridge import workflows

        known = {str(draft.record.id): draft for _, draft in self._open or ()}
        children = []
        for one in several(results):
            child = known.get(str(getattr(one, "id", "")))
            if child is None:
                raise InvalidWorkflow(
                    f"before={one!r:.200}: only what was added in the same `with` block can be made"
                    " to wait; all else may have run already."
                )
            children.append(child)
        for child in children:
            waited_for = {edge.parent for edge in child.edges}
            for record in (parent.record for parent in parents):
                if record.id not in waited_for:
                    workflows.join(child, record.id, record.queue_name, Policy.SUCCESS.value, None)

    def _write(self, pairs: list[tuple[Any, Draft]]) -> None:
        from django_tasks.bridge import workflows

        drafts = [draft for _, draft in pairs]
        require_one_home(
            {draft.alias for draft in drafts},
            {draft.database for draft in drafts} | self._database(),
        )
        require_no_cycle(drafts)
        if self._ids is not None:
            known = workflows.known_ids([one.record.id for one in drafts], drafts[0].database)
            pairs = [pair for pair in pairs if pair[1].record.id not in known]
        if pairs:
            with workflows.written(self.row, [draft for _, draft in pairs]):
                tasks, drafts = [task for task, _ in pairs], [draft for _, draft in pairs]
                write(tasks[0].get_backend(), tasks, drafts)

    def _database(self) -> set[str]:
        return set() if self.row._state.adding else {self.row._state.db or "default"}

    # -- how far it is --------------------------------------------------------------------------

    @property
    def records(self) -> TaskRecordQuerySet:
        """Its members. What the mirror has not copied yet they do not say."""
        found: TaskRecordQuerySet = self.row.records.all()
        return found

    @property
    def counts(self) -> Counts:
        """Its members by state; a query."""
        return self.row.counts

    @property
    def status(self) -> State:
        """RUNNING, SUCCESSFUL, FAILED or CANCELLED; a query."""
        return self.row.status

    @property
    def progress(self) -> Progress:
        """``done`` of ``total`` members are final; a query."""
        counts = self.counts
        return Progress(done=counts.done, total=counts.total, text="", at=timezone.now())

    def cancel(self, *, terminate: bool = False, by: str = "", reason: str = "") -> Done:
        """Cancel all that has not run, and ask what runs to stop (``terminate``: end its process).
        Raises ``BrokerUnavailable``."""
        from django_tasks.bridge import workflows

        [using] = self._database() or {"default"}
        return workflows.cancel(self.row.pk, using, terminate=terminate, by=by, reason=reason)

    async def acancel(self, **given: Any) -> Done:
        """``cancel`` for asyncio."""
        return await sync_to_async(self.cancel)(**given)

    def retry_failed(self, *, by: str = "", reason: str = "") -> Done:
        """Run again what failed or expired, and what could not run since; all else stays."""
        from django_tasks.bridge import workflows

        [using] = self._database() or {"default"}
        return workflows.retry_failed(self.row.pk, using, by=by, reason=reason)

    async def aretry_failed(self, **given: Any) -> Done:
        """``retry_failed`` for asyncio."""
        return await sync_to_async(self.retry_failed)(**given)


def workflow(name: str = "") -> WorkflowHandle:
    """A new one, of any form: ``with workflow("import") as w: …``. Its row is written with its
    first member's. Raises ``InvalidWorkflow``."""
    from django_tasks.models import Workflow

    return WorkflowHandle(Workflow(name=checked_name(name)))


def get_workflow(workflow_id: Any) -> WorkflowHandle:
    """The one with this id (a text, a UUID, or what has it as ``workflow_id``: a record), or of
    this result. Raises ``ResultNotFound``."""
    from django_tasks.models import Workflow

    wanted = getattr(workflow_id, "workflow_id", workflow_id)
    if isinstance(wanted, GroupResult):
        wanted = wanted.id
    elif isinstance(wanted, result.TaskResult):
        wanted = _workflow_of(wanted)
    try:
        checked = wanted if isinstance(wanted, UUID) else UUID(str(wanted))
    except ValueError:
        raise ResultNotFound(f"{wanted!r:.200} is not the id of a workflow (a UUID).") from None
    for database in databases():
        row = Workflow.objects.using(database).filter(pk=checked).first()
        if row is not None:
            return WorkflowHandle(row)
    raise ResultNotFound(f"No workflow has the id {wanted}.")


def _workflow_of(one: result.TaskResult) -> UUID:
    from django_tasks.models import TaskRecord

    rows = TaskRecord.objects.using(one.database or "default").filter(pk=one.id)
    found: UUID | None = rows.values_list("workflow", flat=True).first()
    if found is None:
        raise ResultNotFound(f"The call {one.id} belongs to no workflow.")
    return found


def _laid_down() -> set[str]:
    from django_tasks.bridge.outbox import laid_down

    return laid_down


def _shape(after: Any) -> Shape:
    """Results, records, dependencies and lists of these, as what a call waits for."""
    if isinstance(after, Dependency):
        return _with_policy(_shape(after.parent), after.policy)
    if isinstance(after, GroupResult):
        return [_shape(one) for one in after.results]
    if isinstance(after, list | tuple):
        return [_shape(one) for one in after]
    [checked] = checked_dependencies("after", after)
    return earlier(checked)


def _with_policy(shape: Any, policy: str) -> Shape:
    if isinstance(shape, list):
        return [_with_policy(one, policy) for one in shape]
    made: Shape = replace(shape, policy=policy)
    return made
