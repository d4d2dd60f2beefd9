"""What an installed distribution consists of, and whether its files are still as published.

Pure functions without Django: they read the distribution's folder and nothing else. Each file is
held against its row in RECORD (packaging.python.org, "Recording installed projects")."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from packaging.utils import canonicalize_name

from demo_project.audit.languages import language_of
from demo_project.audit.requirements import Unsatisfied, unsatisfied

TAMPERED, MISSING, UNREADABLE = "tampered", "missing", "unreadable"
# Weaker ones (md5, sha1) are forbidden in RECORD, since they prove nothing.
_ALGORITHMS = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_CHUNK = 1 << 20  # bytes
# Rows that never have a digest: RECORD and its signatures can't hold their own.
_OF_RECORD = ("RECORD", "RECORD.jws", "RECORD.p7s")
_NAMED = 5  # files that a reason names
LONGEST_NAME = 200  # characters of a name or a version
_LONGEST_LICENCE = 60  # characters; some put the whole text into the License field
_APPROVALS = ("OSI Approved", "DFSG approved")  # classifiers that say no licence
# Classifiers that mean the same as an SPDX expression; "BSD License" means several.
_SPDX = {
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True)
class FileProblem:
    """A file that is not as its row in RECORD says. ``kind``: tampered, missing or unreadable."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What there is of one distribution, and what is wrong with it.

    ``size``: bytes, without compiled ``.pyc`` files; ``unverified``: why it can't be said of all
    its files whether they are as published.
    """

    version: str = ""
    files: int = 0
    verified: int = 0
    size: int = 0
    problems: list[FileProblem] = field(default_factory=list)
    unsatisfied: list[Unsatisfied] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class _Row(NamedTuple):
    """A row of RECORD; ``digest`` and ``size`` are "" where the installer wrote none."""

    path: str
    digest: str
    size: str


class _Reading(NamedTuple):
    size: int
    digest: bytes


def installed_names() -> list[str]:
    """The names of all installed distributions, normalised and sorted, each once."""
    names = {name_of(found) for found in distributions()}
    return sorted(name for name in names if name)


def locate(name: str) -> Distribution:
    """The distribution ``name``. Raises ``PackageNotFoundError`` if there is none."""
    # Found by its folder's name, or, if that is another one, by what its METADATA says.
    found = list(distributions(name=name)) or [
        one for one in distributions() if name_of(one) == name
    ]
    if not found:
        raise PackageNotFoundError(name)
    # An egg-info, as a build leaves it in a clone, hides the dist-info of the installation.
    return next((one for one in found if not _is_egg_info(one)), found[0])


def verify(found: Distribution) -> Verification:
    """Hold each file against its row, and each requirement against what is installed."""
    metadata = _metadata_of(found)
    remarks, unverified = [], []
    if not metadata.keys():
        remarks.append("has no readable METADATA: licence and requirements are unknown")
    if _is_editable(found):
        unverified.append("editable install: its source folder has no RECORD to be held against")
    record = _text(found, "RECORD")
    rows: list[_Row] = []
    try:
        rows.extend(_rows(record))
    except csv.Error as error:
        unverified.append(f"its RECORD is damaged: {error}")
    if not record and _is_egg_info(found):
        unverified.append("is a source tree or a system package (egg-info), which has no RECORD")
    elif not record:
        unverified.append("has no readable RECORD: no file can be verified")
    problems: list[FileProblem] = []
    verified = size = 0
    undigested: list[str] = []
    for row in rows:
        reading, problem = _read(_path_of(found, row), row)
        if problem is not None:
            problems.append(problem)
        if reading is None:
            continue
        size += reading.size
        verified += bool(row.digest and problem is None)
        if not row.digest and not _is_of_record(row.path):
            undigested.append(row.path)
    if undigested:
        more = "" if len(undigested) <= _NAMED else ", …"
        named = ", ".join(undigested[:_NAMED]) + more
        unverified.append(f"files without a digest in its RECORD ({len(undigested):,}): {named}")
    return Verification(
        version=_shown(metadata.get("Version", "")),
        files=len(rows),
        verified=verified,
        size=size,
        problems=problems,
        unsatisfied=unsatisfied(_requirements_of(found) if metadata.keys() else ()),
        unverified=unverified,
        remarks=remarks,
    )


def count_lines(found: Distribution) -> dict[str, int]:
    """Lines by language, of the files that can be read."""
    lines: Counter[str] = Counter()
    try:
        for row in _rows(_text(found, "RECORD")):
            language = language_of(row.path)
            if language:
                lines[language] += _lines_of(_path_of(found, row))
    except csv.Error:
        pass  # verify() says so
    return dict(lines)


def licence_in(found: Distribution) -> str:
    """The licence that its METADATA states."""
    return licence_of(_metadata_of(found))


def licence_of(metadata: Message) -> str:
    """The licence in a few words: SPDX expression, else classifiers, else the free text."""
    if expression := metadata.get("License-Expression", "").strip():
        return _shortened(expression)
    classified = [
        classifier.rpartition("::")[2].strip()
        for classifier in metadata.get_all("Classifier", [])
        if classifier.startswith("License ::") and not classifier.endswith(_APPROVALS)
    ]
    if classified:
        names = sorted({_SPDX.get(licence, licence) for licence in classified})
        return _shortened(" / ".join(names))
    text = metadata.get("License", "").strip()
    if not text or text.upper() == "UNKNOWN":
        return "not stated"
    return _shortened(text.splitlines()[0])


def _shortened(licence: str) -> str:
    licence = licence.strip()
    if len(licence) <= _LONGEST_LICENCE:
        return licence
    return licence[: _LONGEST_LICENCE - 1] + "…"


def name_of(found: Distribution) -> str:
    """Its name, normalised; "" if it has none."""
    name = _metadata_of(found).get("Name", "")
    if not name:
        # A damaged folder has a name too, and an audit is there to find it.
        folder = str(getattr(found, "_path", "")).rstrip("/\\").replace("\\", "/")
        name = folder.rpartition("/")[2].partition("-")[0]
    return _shown(str(canonicalize_name(name)))


def _shown(text: str) -> str:
    """``text`` as every database keeps it: no NUL, and not longer than a name."""
    return text.replace("\0", "\ufffd")[:LONGEST_NAME]


def _is_egg_info(found: Distribution) -> bool:
    return bool(_text(found, "PKG-INFO")) and not _text(found, "METADATA")


def _requirements_of(found: Distribution) -> list[str]:
    """From METADATA, or from the requires.txt that is older."""
    try:
        return found.requires or []
    except (OSError, ValueError):  # not there, or not UTF-8
        return []


def _is_of_record(path: str) -> bool:
    row = PurePosixPath(path)
    return row.name in _OF_RECORD and row.parent.suffix == ".dist-info"


def _metadata_of(found: Distribution) -> Message:
    """The headers of METADATA, or of what came before it; empty if there is nothing.

    ``found.metadata`` raises TypeError for a folder without metadata on some Pythons.
    """
    text = _text(found, "METADATA") or _text(found, "PKG-INFO") or _text(found, "")
    return message_from_string(text)


def _text(found: Distribution, name: str) -> str:
    """A file of the distribution's folder; "" if it is not there, not readable or not UTF-8."""
    try:
        return found.read_text(name) or ""
    except (OSError, ValueError):
        return ""


def _is_editable(found: Distribution) -> bool:
    try:
        origin = json.loads(_text(found, "direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _rows(record: str) -> Iterator[_Row]:
    """The rows of RECORD that name what was published.

    ``Distribution.files`` will not do: from Python 3.12 on it leaves out what is missing.
    """
    for cells in csv.reader(record.splitlines()):
        row = _Row(*[*cells, "", "", ""][:3])
        # Compiled files come and go with the interpreter and carry no digest.
        if row.path and not (row.path.endswith(".pyc") and not row.digest):
            yield row


def _read(path: Path, row: _Row) -> tuple[_Reading | None, FileProblem | None]:
    """Read the file of a row and hold it against the row: what it is, and what is wrong."""
    algorithm, _, expected = row.digest.partition("=")
    if row.digest and algorithm not in _ALGORITHMS:
        problem = FileProblem(row.path, UNREADABLE, f"RECORD uses {algorithm}, not SHA-256")
        return None, problem
    try:
        reading = _digest(path, algorithm or "sha256")
    except FileNotFoundError:
        return None, FileProblem(row.path, MISSING, "is in RECORD, but not there")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return None, FileProblem(row.path, UNREADABLE, str(error))
    if row.size and row.size != str(reading.size):
        reason = f"has {reading.size} bytes, RECORD says {row.size}"
        return reading, FileProblem(row.path, TAMPERED, reason)
    if row.digest and _encode(reading.digest) != expected.rstrip("="):
        return reading, FileProblem(
            row.path, TAMPERED, f"its {algorithm.upper()[:3]}-{algorithm[3:]} differs"
        )
    return reading, None


def _digest(path: Path, algorithm: str) -> _Reading:
    if not stat.S_ISREG(path.stat().st_mode):
        # A row may name anything; a device or a pipe would be read for ever.
        raise ValueError("is not a file")
    digest = _ALGORITHMS[algorithm]()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return _Reading(size, digest.digest())


def _lines_of(path: Path) -> int:
    """Lines of a file, the last one also without an end; 0 of what can't be read."""
    lines, last = 0, b"\n"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                lines += chunk.count(b"\n")
                last = chunk[-1:]
    except (OSError, ValueError):
        return 0
    return lines + (last != b"\n")


def _path_of(found: Distribution, row: _Row) -> Path:
    return Path(str(found.locate_file(row.path)))


def _encode(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
