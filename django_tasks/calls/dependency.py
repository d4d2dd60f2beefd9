"""Dependency: what a call waits for, and after which end of it it runs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from django_tasks.errors import InvalidTaskOptions
from django_tasks.states import Policy


@dataclass(frozen=True)
class Dependency:
    """``Dependency(result, policy="any")``, in ``depends_on=`` and ``after=``. ``parent``: a
    result, as ``enqueue()`` returned it, or a record, or several; ``policy``: a word of ``Policy``.

    Raises ``InvalidTaskOptions``."""

    parent: Any
    policy: str = Policy.SUCCESS.value

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", checked_policy(self.policy))
        for one in several(self.parent):
            _require_enqueued("Dependency()", one)


def checked_policy(policy: Any) -> str:
    """Raises ``InvalidTaskOptions`` for what is no word of ``Policy``."""
    if policy in Policy.values:
        return str(Policy(policy).value)
    close = difflib.get_close_matches(str(policy), Policy.values, n=1)
    raise InvalidTaskOptions(
        f"policy is {policy!r}; it must be one of {', '.join(map(repr, Policy.values))}."
        + (f" Did you mean {close[0]!r}?" if close else "")
    )


def checked_dependencies(name: str, value: Any) -> tuple[Any, ...]:
    """Results, records and dependencies; of a group each of its results. Raises
    ``InvalidTaskOptions``."""
    found: list[Any] = []
    for one in several(value):
        if isinstance(one, Dependency):
            found += [Dependency(parent, one.policy) for parent in several(one.parent)]
        else:
            _require_enqueued(name, one)
            found.append(one)
    return tuple(found)


def several(value: Any) -> list[Any]:
    """One or many, and of a group's result its members, as one list."""
    found: list[Any] = []
    for one in value if isinstance(value, tuple | list) else (value,):
        found += several(one.results) if hasattr(one, "results") else [one]
    return found


def _require_enqueued(name: str, one: Any) -> None:
    if not hasattr(one, "id") or not (hasattr(one, "queue_name") or hasattr(one, "task")):
        raise InvalidTaskOptions(
            f"{name} is given {one!r:.200}; it must be a result, as enqueue() returned it, or a"
            " record, or several of these."
        )
