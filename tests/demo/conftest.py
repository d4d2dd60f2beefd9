"""Distributions made for a test: a folder on sys.path with a dist-info as an installer writes."""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from demo_project.audit import inspection, tasks

Publish = Callable[..., Path]


@dataclass(frozen=True)
class Inspection(inspection.Verification):
    """What the audit's three steps find, together."""

    name: str = ""
    licence: str = ""
    lines: dict[str, int] = field(default_factory=dict)


def inspect(name: str) -> Inspection:
    """What the steps find in the distribution of this name."""
    return inspect_found(inspection.locate(name))


def inspect_found(found: Distribution) -> Inspection:
    verified = inspection.verify(found)
    return Inspection(
        **{one: getattr(verified, one) for one in asdict(verified)},
        name=inspection.name_of(found),
        licence=inspection.licence_in(found),
        lines=inspection.count_lines(found),
    )


def inspect_distribution(audit_id: int, name: str) -> tasks.Found:
    """A distribution's three tasks, called one after the other as their chain does."""
    found = tasks.verify(audit_id, name)
    found = tasks.read_licence(found, audit_id, name)
    return tasks.count_lines(found, audit_id, name)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, first on sys.path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    importlib.invalidate_caches()


@pytest.fixture
def publish(site: Path) -> Publish:
    """Writes a distribution into ``site``, with a true RECORD, and returns the folder."""

    def write(
        name: str,
        version: str = "1.0",
        *,
        files: Mapping[str, bytes] | None = None,
        headers: Sequence[str] = (),
        extra_rows: Sequence[str] = (),
        record: bool = True,
    ) -> Path:
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *headers]
        contents = dict(files or {})
        contents[f"{folder}/METADATA"] = "\n".join([*lines, "", ""]).encode()
        rows = []
        for path, content in contents.items():
            target = site / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            quoted = f'"{path}"' if "," in path else path
            rows.append(f"{quoted},sha256={digest.rstrip('=')},{len(content)}")
        if record:
            rows += [*extra_rows, f"{folder}/RECORD,,"]
            (site / folder / "RECORD").write_text("\n".join(rows) + "\n")
        importlib.invalidate_caches()
        return site

    return write
