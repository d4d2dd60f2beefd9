"""Who waits for whom: noted, let go, and carried into other queues (docs/workflows.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django_tasks.broker.answers import text_of
from django_tasks.broker.message import to_json
from django_tasks.broker.reads import Reads
from django_tasks.broker.scripts import Argument

CROSSINGS = 100  # edges into other queues that one look takes
MOST_STEPS = 1000  # of one carrying; a worker's next second goes on


@dataclass(frozen=True, slots=True)
class Ended:
    """What a parent's end means to one child. ``how``: "success", "failure" or "cancelled"; or
    "replaced": by ``cause``, which the child waits for instead. ``cause``: the record that it began
    with; ``value``: JSON of the child's input, None where the
    child reads it from the row."""

    child: str
    parent: str
    how: str
    cause: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """``done``: edges that were let go; ``ends``, ``crossings``: what is left to go on with."""

    done: int
    ends: int
    crossings: int


class Edges(Reads):
    """The scripts of dependents."""

    __slots__ = ()

    def depend(self, queue: str, edges: Iterable[tuple[str, str, str]]) -> list[str]:
        """(parent, child, the child's queue or "" for the same) each: noted, then looked at.
        Returns the parents' states, "" for those that the broker does not know."""
        parts = [part for edge in edges for part in edge]
        return [text_of(one) for one in self._call("depend", queue, *parts)]

    def release(self, queue: str, ends: Sequence[Ended] = ()) -> Released:
        """Let children in this queue go, or end them, and go on with what earlier ends left."""
        parts: list[Argument] = []
        for end in ends:
            value = "" if end.value is None else f"={end.value}"
            parts += [end.child, end.parent, end.how, end.cause, value]
        return Released(*self._call("release", queue, *parts))

    def released(self, queue: str, edges: Iterable[tuple[str, str]]) -> int:
        """Forget (child, parent) edges that were released in the children's queues."""
        return int(self._call("released", queue, *(f"{child} {parent}" for child, parent in edges)))

    def carry(self, queue: str, most: int = MOST_STEPS) -> int:
        """Go on with what ends in this queue left: the rest of many dependents, and those in other
        queues; in at most so many steps of some thousand edges. Returns how many edges into other
        queues were released. It may be repeated, and done by several."""
        done = 0
        further = [queue]
        for _ in range(most):
            if not further:
                break
            queue = further[-1]
            left = self.release(queue)
            crossings = self.crossings(queue) if left.crossings else []
            by_queue: dict[str, list[Ended]] = {}
            for child_queue, end in crossings:
                by_queue.setdefault(child_queue, []).append(end)
            for child_queue, ends in by_queue.items():
                there = self.release(child_queue, ends)
                done += there.done
                self.released(queue, [(end.child, end.parent) for end in ends])
                if there.ends or there.crossings:  # what was cancelled there has dependents too
                    further.append(child_queue)
            if not left.ends and not crossings and further[-1] == queue:
                further.pop()
        return done

    def crossings(self, queue: str) -> list[tuple[str, Ended]]:
        """Edges into other queues that wait to be released there: the child's queue, and what it
        is to be told; its input as far as the parent's message still has it."""
        keys = self.keys(queue)
        _, flat = self._execute("HSCAN", keys.releases, 0, "COUNT", CROSSINGS)
        named = [text_of(one).split(" ") for one in flat[::2]]
        told = [text_of(one).split(" ") for one in flat[1::2]]
        asked = [("HMGET", keys.message(parent), *_ASKED) for _, parent in named]
        return [
            (child_queue, Ended(child, parent, how, cause, _input(parent, how, cause, answer)))
            for (child, parent), (child_queue, how, cause), answer in zip(
                named, told, self._pipeline(asked), strict=True
            )
        ]


_ASKED = "settled return_value failure error_class error_message dead_letter state".split()


def _input(parent: str, how: str, cause: str, answer: object) -> str | None:
    """As lua/_input.lua has it."""
    if how == "cancelled":
        return to_json([cause, "", ""])
    if not isinstance(answer, list) or answer[0] == b"1" or not answer[6]:
        return None
    _, value, failure, kind, text, dead, _ = (text_of(one) if one else "" for one in answer)
    if how == "success":
        return value or "null"
    if cause != parent and not failure:
        return None
    return failure or to_json([parent, kind, text or dead])
