"""chain, group, chord: calls not yet made that are to wait for each other.

Each lays itself down as nodes; the backend makes records of these (workflows.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Union
from uuid import UUID

from asgiref.sync import sync_to_async

from django_tasks.calls.dependency import Dependency
from django_tasks.calls.group_result import GroupResult
from django_tasks.calls.signature import Signature
from django_tasks.errors import InvalidWorkflow
from django_tasks.states import Policy

Element = Union[Signature, "Canvas"]
_WITHOUT_SUCCESS = {Policy.FAILURE.value, Policy.CANCELLED.value}
# What a node's parents give it: a place of theirs, or a list of such.
Shape = Union["Node", "Earlier", "Behind", list["Shape"]]
Values = Union["Node", "Earlier", list["Values"]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A record that has its id already, as a parent. ``policy``: "" for that of all the others."""

    id: UUID
    queue: str
    database: str
    alias: str  # of TASKS
    policy: str = ""


@dataclass(slots=True, eq=False)
class Node:
    """One record to be. ``parents``: those it waits for, and after which end of theirs it runs;
    ``shape``: what of their values it is given, as one argument; ``is_told``: instead of that, who
    failed and how, as three."""

    signature: Signature
    parents: list[tuple[Leaf, str]] = field(default_factory=list)
    shape: Values | None = None
    is_told: bool = False


Leaf = Node | Earlier


@dataclass(frozen=True, slots=True)
class Behind:
    """An empty group's shape where other calls come first: no value, and they are waited for."""

    before: Shape
    policy: str


class Canvas:
    """What chain, group and chord have in common."""

    kind = ""

    def lay(
        self, nodes: list[Node], before: Shape | None, policy: str = Policy.SUCCESS.value
    ) -> Shape:
        """Append its nodes, those of what comes first first; ``before``: what they wait for, and
        ``policy``: after which end of it they run. Returns those whose values are its own."""
        raise NotImplementedError

    def __or__(self, other: Element) -> chain:
        return chain(self, other)

    def __call__(self) -> Any:
        """Celery's form of ``enqueue``."""
        return self.enqueue()

    async def aenqueue(self, *, name: str = "") -> Any:
        """``enqueue`` for asyncio."""
        return await sync_to_async(self.enqueue)(name=name)

    def delay(self) -> Any:
        """``enqueue``, under the name that Celery users know."""
        return self.enqueue()

    def enqueue(self, *, name: str = "") -> Any:
        """Write its records now, push them after commit. Raises ``InvalidWorkflow``, and what an
        enqueue of each call raises; then nothing was written."""
        nodes: list[Node] = []
        shape = self.lay(nodes, None)
        if not nodes:  # an empty group: nothing is to be waited for
            return GroupResult("", [])
        return backend_of(nodes).enqueue_workflow(nodes, values(shape), self.kind, name)


class chain(Canvas):
    """One after the other; each takes the return value of the one before as its first argument.
    A group in it is waited for as a whole, and gives a list."""

    kind = "chain"

    def __init__(self, *elements: Element | Iterable[Element]) -> None:
        self.elements = checked_elements(elements)
        if not self.elements:
            raise InvalidWorkflow("chain() needs at least one call, like chain(add.s(1, 2)).")

    def __or__(self, other: Element) -> chain:
        return chain(*self.elements, other)

    def lay(
        self, nodes: list[Node], before: Shape | None, policy: str = Policy.SUCCESS.value
    ) -> Shape:
        shape = before
        for element in self.elements:
            shape = lay(element, nodes, shape, policy)
            policy = Policy.SUCCESS.value
        assert shape is not None
        return shape


class group(Canvas):
    """Side by side; the value is the list of their values, in their order."""

    kind = "group"

    def __init__(self, *elements: Element | Iterable[Element]) -> None:
        self.elements = checked_elements(elements)

    def lay(
        self, nodes: list[Node], before: Shape | None, policy: str = Policy.SUCCESS.value
    ) -> Shape:
        if not self.elements and before is not None:
            return Behind(before, policy)
        return [lay(element, nodes, before, policy) for element in self.elements]


class chord(Canvas):
    """A group, and a body that gets the list of its values: ``chord([…], body)`` or
    ``chord([…])(body)``, which enqueues."""

    kind = "chord"

    def __init__(self, header: group | Iterable[Element], body: Element | None = None) -> None:
        self.header = header if isinstance(header, group) else group(header)
        self.body = None if body is None else checked_element(body)

    def __call__(self, body: Element | None = None) -> Any:
        return (self if body is None else chord(self.header, body)).enqueue()

    def lay(
        self, nodes: list[Node], before: Shape | None, policy: str = Policy.SUCCESS.value
    ) -> Shape:
        if self.body is None:
            raise InvalidWorkflow("A chord needs a body: chord([…], body), or chord([…])(body).")
        return lay(self.body, nodes, self.header.lay(nodes, before, policy))


def checked_elements(elements: Sequence[Any]) -> list[Any]:
    """Those that were given one by one, or as one list or generator. Raises ``InvalidWorkflow``."""
    if len(elements) == 1 and isinstance(elements[0], Iterable):
        elements = list(elements[0])
    return [checked_element(one) for one in elements]


def checked_element(element: Any) -> Any:
    """Raises ``InvalidWorkflow`` for what is no call and no canvas."""
    if isinstance(element, Signature | Canvas):
        return element
    if hasattr(element, "enqueue"):  # a task
        name = getattr(getattr(element, "func", None), "__name__", "add")
        raise InvalidWorkflow(
            f"{name} is a task, and what is joined are calls of it. Write {name}.s(…)."
        )
    raise InvalidWorkflow(
        f"{element!r:.200} is no call that can be joined to others. Write add.s(1, 2), a chain, a"
        " group or a chord."
    )


def lay(
    element: Element,
    nodes: list[Node],
    before: Shape | None,
    policy: str = Policy.SUCCESS.value,
) -> Shape:
    """A call or a canvas: its nodes are appended. Returns those whose values are its own."""
    if isinstance(element, Canvas):
        return element.lay(nodes, before, policy)
    return lay_call(element, nodes, before, policy)


def lay_call(
    call: Signature,
    nodes: list[Node],
    before: Shape | None = None,
    policy: str = Policy.SUCCESS.value,
) -> Node:
    """One call, and what its ``using()`` joined to it."""
    node = Node(call)
    if before is not None:
        node.parents = list(awaited(before, policy))
        if not call.immutable:
            policies = {one for _, one in node.parents}
            node.is_told = policies <= _WITHOUT_SUCCESS and any(leaves(before))
            node.shape = None if node.is_told else values(before)
    nodes.append(node)
    options = getattr(call.task, "options", None)
    if options is None or not options.is_joined:
        return node
    wanted = Policy.ANY if options.allow_failure else Policy.SUCCESS
    for one in options.depends_on:
        found = earlier(one)
        node.parents.append((found, found.policy or wanted.value))
    for after, calls in (
        (Policy.SUCCESS, options.on_success),
        (Policy.FAILURE, options.on_failure),
        (Policy.CANCELLED, options.on_cancelled),
    ):
        for one in calls:
            lay(one, nodes, node, after.value)
    return node


def earlier(one: Any) -> Earlier:
    """A result or a record, as a parent; of a ``Dependency`` with its policy."""
    policy = ""
    if isinstance(one, Dependency):
        one, policy = one.parent, one.policy
    state = getattr(one, "_state", None)
    if state is not None:  # a record
        alias = (one.metadata or {}).get("backend", "default")
        return Earlier(one.id, one.queue_name, state.db or "default", alias, policy)
    return Earlier(UUID(str(one.id)), one.task.queue_name, one.database, one.backend, policy)


def backend_of(nodes: Sequence[Node]) -> Any:
    """Raises ``InvalidWorkflow`` if it is none of ours."""
    task = nodes[0].signature.task
    backend = task.get_backend()
    if not hasattr(backend, "enqueue_workflow"):
        raise InvalidWorkflow(
            f"{task.backend!r} of TASKS is no RedisBackend: its calls can't be joined."
        )
    return backend


def awaited(shape: Shape, policy: str) -> Iterator[tuple[Leaf, str]]:
    """Those that are waited for, and after which end of theirs it goes on."""
    if isinstance(shape, list):
        for part in shape:
            yield from awaited(part, policy)
    elif isinstance(shape, Behind):
        yield from awaited(shape.before, shape.policy)
    else:
        yield shape, getattr(shape, "policy", "") or policy


def values(shape: Shape) -> Values:
    """The same, of nothing but those whose values it is made of."""
    if isinstance(shape, list):
        return [values(part) for part in shape]
    return [] if isinstance(shape, Behind) else shape


def leaves(shape: Shape | Values) -> Iterator[Leaf]:
    """Those whose values it is made of."""
    if isinstance(shape, list):
        for part in shape:
            yield from leaves(part)
    elif not isinstance(shape, Behind):
        yield shape
