"""What has to become of each node of a graph, by the rules of docs/workflows.md alone: no broker,
no rows, no time.

Where timing decides (several parents contradict a node; one lets it go before another contradicts
it; somebody cancels it while it may run) several endings are allowed, and what it in fact became
is what its dependents go by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product

from tests.worker.graph_tasks import MAX_LOST, mark, value_of

RUNS_AFTER = {
    "success": {"success"},
    "failure": {"failure"},
    "cancelled": {"cancelled"},
    "any": {"success", "failure", "cancelled"},
    "early": {"success", "failure", "cancelled"},
}
REASONS = {"success": "NotNeeded", "failure": "ParentFailed", "cancelled": "ParentCancelled"}
REFUSED = "tests.worker.graph_tasks.Refused"
WITHOUT_SUCCESS = {"failure", "cancelled"}
Told = tuple[str, str, str]  # a record's id, the class and the text of its error
Parts = tuple[str | None, ...]


@dataclass(frozen=True)
class Call:
    """A node. ``deed``: what it does when it runs, ``times``: how often it fails; ``parents``:
    with the policy of each; ``takes_nothing``: of what these give; ``cancel``: what the answer was
    when it was cancelled by hand, None if it was not."""

    id: str
    deed: str
    times: int = 0
    parents: tuple[tuple[str, str], ...] = ()
    takes_nothing: bool = False
    cancel: bool | None = None


@dataclass(frozen=True)
class Ending:
    """``reason``: why it could not run, an error's name; ``parent``: whose end that was; ``cause``:
    the record that it began with; ``error``: its own, class and text."""

    status: str
    reason: str = ""
    parent: str = ""
    cause: str = ""
    error: tuple[str, str] = ("", "")
    value: str | None = None

    @property
    def how(self) -> str:
        """As what it counts for its dependents."""
        if self.status == "CANCELLED":
            return "failure" if self.reason == "ParentFailed" else "cancelled"
        return "success" if self.status == "SUCCESSFUL" else "failure"


def allowed(call: Call, ends: Mapping[str, Ending]) -> list[Ending]:
    """How it may end, its parents having ended so."""
    against = [one for one, policy in call.parents if ends[one].how not in RUNS_AFTER[policy]]
    let_go = is_let_go(call, ends)
    found: list[Ending] = []
    if let_go or not against:
        found += run(call, ends, let_go)
    if call.cancel:  # it was waiting or running then; what runs may end before it hears of that
        found = [one for one in found if one.status != "EXPIRED"]
        return [*found, Ending("CANCELLED")]
    for parent in against:
        began = ends[parent].cause or parent
        found.append(Ending("CANCELLED", REASONS[ends[parent].how], parent, began))
    return found


def is_let_go(call: Call, ends: Mapping[str, Ending]) -> bool:
    """Whether it need not wait for all of its parents."""
    return any(policy == "early" and ends[one].how != "success" for one, policy in call.parents)


def run(call: Call, ends: Mapping[str, Ending], let_go: bool) -> list[Ending]:
    """How a node may end that nothing holds back any more."""
    if call.deed == "expires":
        return [Ending("EXPIRED")]
    if call.deed == "fails":
        return [Ending("FAILED", error=(REFUSED, f"no, says {call.id}"))]
    if call.deed == "dies":
        return [Ending("FAILED", error=("", f"killed its process {MAX_LOST} times (SIGKILL)"))]
    policies = {policy for _, policy in call.parents}
    given: list[list[tuple[str, ...]]] = []
    if policies and policies <= WITHOUT_SUCCESS and not call.takes_nothing:
        given = [[told(call.parents[0][0], ends)]]
    elif not call.takes_nothing:
        for pair in call.parents:
            given.append([tuple(map(mark, parts)) for parts in inputs(*pair, ends, let_go)])
    return [
        Ending("SUCCESSFUL", value=value_of(call.id, chain.from_iterable(parts)))
        for parts in product(*given)
    ]


def inputs(parent: str, policy: str, ends: Mapping[str, Ending], let_go: bool) -> list[Parts]:
    """What it may get of one of several parents: its value, or who failed and how."""
    end = ends[parent]
    if policy in WITHOUT_SUCCESS and end.how != "success":
        may_be: list[Parts] = [told(parent, ends)]
    else:
        may_be = [(end.value,)]
    # Not waited for, it may not have ended by then.
    return [*may_be, (None,)] if let_go and may_be != [(None,)] else may_be


def told(parent: str, ends: Mapping[str, Ending]) -> Told:
    """What a dependent hears of a parent that did not succeed."""
    end = ends[parent]
    began = end.cause or parent
    return (began, "", "") if end.how == "cancelled" else (began, *ends[began].error)


def runs(call: Call, end: Ending) -> Iterable[int]:
    """How often the body of a node may have begun that ended so."""
    most = {"expires": 0, "recovers": call.times + 1, "dies once": 2, "dies": MAX_LOST}
    whole = most.get(call.deed, 1)
    if end.status == "CANCELLED":
        return [0] if end.reason else range(whole + 1)
    return [whole]


def complaints(
    calls: Sequence[Call],
    became: Mapping[str, Ending],
    began: Mapping[str, int],
    is_shaken: bool = False,
) -> list[str]:
    """What is wrong with what the nodes became, parents first, and with how often they ran.
    ``is_shaken``: the broker's memory was lost, and with it how often what ran had run."""
    found = []
    ends: dict[str, Ending] = {}
    for call in calls:
        may_be = allowed(call, ends)
        end = became[call.id]
        ends[call.id] = end if end in may_be else may_be[0]
        if end not in may_be:
            found.append(f"{call}\n    is {end}\n    not {may_be}")
        elif not is_shaken and began[call.id] not in runs(call, end):
            found.append(f"{call}\n    is {end}\n    and ran {began[call.id]} times")
    return found
