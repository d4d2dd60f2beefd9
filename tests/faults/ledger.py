"""The ledger: what every task began and ended, from the journal, beside what the rows say.

So it can be counted what was lost, what ran twice, and whether it had a reason to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from django_tasks.models import TaskRecord
from django_tasks.states import FINAL, State


@dataclass
class Run:
    """One run of a task. Times: seconds since 1970; ``ended``: None where its process died."""

    pid: int
    began: float
    ended: float | None = None


@dataclass
class Loss:
    """The moment at which the broker lost memory. ``final``: keys whose rows were final then."""

    at: float
    final: set[str]


@dataclass
class Ledger:
    """``asked``: key → id of its record; ``killed``: pid → when it was killed."""

    journal: Path
    asked: dict[str, str] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)

    def states(self) -> dict[str, str]:
        """key → the state of its row; "" where it has none."""
        rows = dict(TaskRecord.objects.values_list("id", "status"))
        states = {str(record_id): str(status) for record_id, status in rows.items()}
        return {key: states.get(record_id, "") for key, record_id in self.asked.items()}

    def final(self) -> set[str]:
        return {key for key, state in self.states().items() if state in FINAL}

    def runs(self) -> dict[str, list[Run]]:
        """key → its runs, in the order they began."""
        runs: dict[str, list[Run]] = defaultdict(list)
        for line in self.journal.read_text().splitlines():
            at, pid, verb, key = line.split(" ", 3)
            if key not in self.asked:
                continue
            if verb == "began":
                runs[key].append(Run(int(pid), float(at)))
            else:
                [*_, run] = [one for one in runs[key] if one.pid == int(pid)]
                run.ended = float(at)
        return runs

    def balance(self) -> Balance:
        """Raises nothing: what is wrong stands in it."""
        balance = Balance(asked=len(self.asked), losses=len(self.losses))
        states, runs = self.states(), self.runs()
        for key in self.asked:
            own = runs.get(key, [])
            balance.runs += len(own)
            if states[key] != State.SUCCESSFUL or not any(run.ended for run in own):
                balance.lost.append(f"{key}: {states[key] or 'no row'}, {len(own)} runs")
            for before, after in pairwise(own):
                self._judge(balance, key, before, after)
        for loss in self.losses:
            later = [run.began for own in runs.values() for run in own if run.began > loss.at]
            balance.begun_again.append(min(later, default=float("inf")) - loss.at)
        return balance

    def _judge(self, balance: Balance, key: str, before: Run, after: Run) -> None:
        """Why it ran again."""
        killed_at = self.killed.get(before.pid)
        if any(key in loss.final and loss.at < after.began for loss in self.losses):
            balance.after_final.append(self._told(key, before, after))
        elif before.ended is None or (before.ended > after.began):
            if killed_at is not None and killed_at <= after.began:
                balance.after_kill += 1
            else:
                balance.overlapping.append(self._told(key, before, after))
        elif killed_at is not None and killed_at >= before.ended:
            balance.after_kill += 1  # killed between its end and its report
        else:
            lags = [loss.at - before.ended for loss in self.losses if loss.at >= before.ended]
            if lags:
                balance.unmirrored += 1
                balance.lag = max(balance.lag, min(lags))
            else:
                balance.unexplained.append(self._told(key, before, after))

    def _told(self, key: str, *runs: Run) -> str:
        """For who looks for the reason. Times: seconds since the first run began."""
        zero = runs[0].began
        shown = [
            f"{run.began - zero:.3f} to {run.ended - zero:.3f} by {run.pid}"
            if run.ended
            else f"{run.began - zero:.3f} to its death by {run.pid}"
            for run in runs
        ]
        losses = [f"{loss.at - zero:.3f}{' final' * (key in loss.final)}" for loss in self.losses]
        return f"{key} ({self.asked[key]}): {', '.join(shown)}; losses at {', '.join(losses)}"


@dataclass
class Balance:
    """What a campaign came to. The lists are to be empty."""

    asked: int = 0
    losses: int = 0
    runs: int = 0
    after_kill: int = 0  # ran again: its process was killed
    unmirrored: int = 0  # ran again: had ended before the loss, and its row did not say so yet
    lag: float = 0.0  # seconds: the longest time between such an end and the loss
    begun_again: list[float] = field(default_factory=list)  # seconds from each loss
    lost: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)  # begun while it ran
    after_final: list[str] = field(default_factory=list)  # begun though its row was final
    unexplained: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        begun = ", ".join(f"{seconds:.1f}" for seconds in self.begun_again)
        return (
            f"{self.asked} tasks, {self.losses} losses, {self.runs} runs: lost {len(self.lost)},"
            f" begun while running {len(self.overlapping)}, begun though final"
            f" {len(self.after_final)}, unexplained {len(self.unexplained)}; again after a kill"
            f" {self.after_kill}, again since unmirrored {self.unmirrored} (lag at most"
            f" {self.lag:.2f} s); first begin after each loss: {begun or '-'} s"
        )
