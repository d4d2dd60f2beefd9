"""What a distribution requires and does not find in this environment, judged as `pip check` does.

Like `pip check` this looks at what is needed here and now: environment markers are evaluated,
requirements of extras are left out, and the extras that a requirement asks for are not followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion


@dataclass(frozen=True)
class Unsatisfied:
    """A requirement that this environment does not meet.

    ``requirement``: as the distribution wrote it, without its marker; ``found``: the version that
    is installed, "" if none is; ``reason``: in words.
    """

    requirement: str
    found: str
    reason: str


def installed_version(name: str) -> str | None:
    """The version of the distribution ``name``; None if it is not installed, "" if its version
    can't be read."""
    try:
        # None too for a folder without metadata, whatever the type says.
        return version(name) or None
    except (PackageNotFoundError, TypeError):
        return None
    except (OSError, ValueError):  # its METADATA is not readable, or not UTF-8
        return ""


def unsatisfied(
    requirements: Iterable[str], version_of: Callable[[str], str | None] = installed_version
) -> list[Unsatisfied]:
    """Those of ``requirements`` (lines of Requires-Dist) that the environment does not meet."""
    return [lacking for line in requirements if (lacking := _judge(line, version_of)) is not None]


def _judge(line: str, version_of: Callable[[str], str | None]) -> Unsatisfied | None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        return Unsatisfied(line, "", f"can't be read: {str(error).splitlines()[0]}")
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    # Without the marker: the reader wants to know what is missing, not on which systems.
    wanted = f"{requirement.name}{requirement.specifier}"
    found = version_of(requirement.name)
    if found is None:
        return Unsatisfied(wanted, "", "is not installed")
    if not requirement.specifier:
        return None
    if not found:
        return Unsatisfied(wanted, "", "is installed, in a version that can't be read")
    try:
        # A pre-release that is there counts, although no installer would have chosen it.
        met = requirement.specifier.contains(found, prereleases=True)
    except InvalidVersion:  # older releases of packaging raise, newer ones answer no
        met = False
    return None if met else Unsatisfied(wanted, found, f"{found} is installed")
