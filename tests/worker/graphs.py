"""Random graphs: drawn by Hypothesis, enqueued, and read back once every node has ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from hypothesis import strategies as st

from django_tasks import Dependency, workflow
from django_tasks.errors import cause_of
from django_tasks.models import TaskRecord
from django_tasks.states import FINAL
from tests.waiting import wait_until
from tests.worker.graph_tasks import node, runs_of
from tests.worker.reference import Call, Ending, complaints, is_let_go
from tests.worker.running import Site

QUEUES = ["default", "mail", "news"]
MOST_NODES = 60
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CALM = ["succeeds"] * 30 + ["lingers", "recovers", "fails"]
ROUGH = ["succeeds"] * 10 + ["lingers"] * 3 + ["recovers", "recovers", "fails", "fails", "expires"]
DEADLY = [*ROUGH, "dies once", "dies once", "dies"]
POLICIES = ["success"] * 6 + ["any", "any", "failure", "failure", "cancelled", "early", "early"]


@dataclass(frozen=True)
class Drawn:
    """A node: its parents by their places; ``shape``: in what form it takes their values;
    ``is_cancelled``: by hand, after the commit."""

    deed: str
    times: int
    queue: str
    parents: tuple[tuple[int, str], ...]
    shape: str
    is_cancelled: bool

    def __repr__(self) -> str:
        return f"Drawn{astuple(self)}"


@st.composite
def graphs(draw: Callable[[Any], Any], is_steady: bool = False) -> list[Drawn]:
    """Of one seed the smaller graphs begin as the larger ones do. ``is_steady``: what is early
    takes nothing and can't be contradicted: then no rerun after a loss of the broker's memory ends
    otherwise."""
    size = draw(st.integers(1, MOST_NODES))
    reach = draw(st.sampled_from([1, 3, 10, MOST_NODES]))  # 1: a chain
    width = draw(st.sampled_from([1, 2, 3, 6]))
    deeds = draw(st.sampled_from([CALM, ROUGH, ROUGH, DEADLY]))
    queues = QUEUES[: draw(st.integers(1, len(QUEUES)))]
    chance = Random(draw(st.integers(0, 2**64 - 1)))
    made: list[Drawn] = []
    for place in range(size):
        places = range(max(0, place - reach), place)
        chosen = chance.sample(places, min(len(places), chance.randint(0, width)))
        parents = [(one, chance.choice(POLICIES)) for one in chosen]
        if is_steady and any(policy == "early" for _, policy in parents):
            parents = [(one, "early" if policy == "early" else "any") for one, policy in parents]
        made.append(
            Drawn(
                chance.choice(deeds),
                chance.randint(1, 3),
                chance.choice(queues),
                tuple(parents),
                chance.choice(["nothing", "list", "nested"]),
                chance.random() < 0.04,
            )
        )
    return made


def takes_nothing(one: Drawn, is_steady: bool) -> bool:
    is_early = any(policy == "early" for _, policy in one.parents)
    return one.shape == "nothing" or (is_steady and is_early)


def enqueue(graph: Sequence[Drawn], is_steady: bool = False) -> list[Any]:
    """The results of its nodes, in their order."""
    made: list[Any] = []
    with workflow("random") as w:
        for one in graph:
            changes: dict[str, Any] = {"queue": one.queue}
            changes["retries"] = one.times if one.deed == "recovers" else 0
            if one.times == 3:
                changes["backoff"] = 0.01  # by way of SCHEDULED
            if one.deed == "expires":
                changes["expires"] = LONG_AGO
            task = node.using(**changes)
            call = task.si if takes_nothing(one, is_steady) else task.s
            after: Any = [Dependency(made[place], policy) for place, policy in one.parents]
            if one.shape == "nested" and after:
                after = [after[0], after[1:]] if len(after) > 1 else after[0]
            made.append(w.add(call(deed=one.deed, times=one.times), after=after or None))
    return made


class Running:
    """A graph that was enqueued. Cancels by hand what is to be."""

    def __init__(self, site: Site, graph: Sequence[Drawn], is_steady: bool = False) -> None:
        self.site = site
        results = enqueue(graph, is_steady)
        self.ids = ids = [str(one.id) for one in results]
        self.calls = [
            Call(
                ids[place],
                one.deed,
                one.times,
                tuple((ids[parent], policy) for parent, policy in one.parents),
                takes_nothing(one, is_steady),
            )
            for place, one in enumerate(graph)
        ]
        for place, one in enumerate(graph):
            if one.is_cancelled:
                answer = results[place].cancel()
                self.calls[place] = replace(self.calls[place], cancel=answer)
        # Their rows say when they were cancelled by the clock of who did it, who comes last.
        self.by_hand = {call.id for call in self.calls if call.cancel is not None}

    def left(self) -> list[tuple[str, str]]:
        """Who has not ended yet, and where it is."""
        rows = TaskRecord.objects.filter(id__in=self.ids).exclude(status__in=FINAL)
        return [(str(pk), status) for pk, status in rows.values_list("id", "status")]

    def judged(self, timeout: float, is_shaken: bool = False) -> Counter[str]:
        """How many of its nodes ended in which way, and how many ran "early", once all have ended.
        Raises ``AssertionError`` with what is not as it has to be. ``is_shaken``: the broker's
        memory was lost, and a node may have run more often."""
        try:
            wait_until(lambda: not self.left(), timeout)
        except AssertionError:
            raise AssertionError(f"after {timeout:g} s: {self.left()} of {self.calls}") from None
        rows = {str(one.id): one for one in TaskRecord.objects.filter(id__in=self.ids)}
        became = {one: ending(row) for one, row in rows.items()}
        began = {one: runs_of(self.site.folder, one) for one in self.ids}
        wrong = complaints(self.calls, became, began, is_shaken)
        early = [call for call in self.calls if self._is_early(call, rows)]
        if not is_shaken:
            wrong += [
                f"{call}\n    did not wait"
                for call in early
                if not is_let_go(call, became) and not self.by_hand & _parents(call)
            ]
        assert not wrong, "\n".join(["", *wrong])
        ends = Counter(f"{end.status} {end.reason}".strip() for end in became.values())
        return ends + Counter(early=len(early))

    def _is_early(self, call: Call, rows: dict[str, TaskRecord]) -> bool:
        """Whether it began before a parent had ended."""
        started = rows[call.id].started_at
        ends = [rows[parent].finished_at for parent in _parents(call)]
        return started is not None and any(end is None or end > started for end in ends)


def _parents(call: Call) -> set[str]:
    return {parent for parent, _ in call.parents}


def ending(record: TaskRecord) -> Ending:
    """What its row says."""
    cause = cause_of(record.error_class, record.error_message)
    if record.status == "CANCELLED" and cause:
        parent = record.error_message.split(",")[0].split()[1]
        return Ending("CANCELLED", record.error_class.rpartition(".")[2], parent, cause)
    if record.status == "FAILED":
        error = (record.error_class, record.error_message or record.dead_letter)
        return Ending("FAILED", error=error)
    return Ending(record.status, value=record.return_value)
