"""What an inspection finds: in real installed distributions, and in made ones that are wrong."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, PathDistribution, distribution, version
from pathlib import Path

import django
import pytest

from demo_project.audit.inspection import (
    LONGEST_NAME,
    MISSING,
    TAMPERED,
    UNREADABLE,
    FileProblem,
    installed_names,
)

from .conftest import Publish, inspect, inspect_found

SOURCE = b"one = 1\ntwo = 2\nthree = 3"  # three lines, the last without an end
DIGEST_OF_NOTHING = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


def test_the_installed_django_is_as_it_was_published() -> None:
    found = inspect("Django")

    assert (found.name, found.version) == ("django", django.get_version())
    assert found.licence in ("BSD-3-Clause", "BSD License")
    assert found.problems == []
    assert found.files > 3000
    # RECORD itself is the one file without a digest.
    assert found.verified == found.files - 1
    assert found.lines["Python"] > 100_000
    assert found.size > 10_000_000


def test_the_lines_of_an_installed_distribution_are_counted() -> None:
    rows = [row for row in distribution("redis").files or () if row.suffix == ".py"]
    contents = [Path(row.locate()).read_bytes() for row in rows]

    found = inspect("redis")

    assert len(contents) > 10
    # Every file ends with a line's end, or is empty, or its last line counts too.
    lines = sum(content.count(b"\n") + (content[-1:] not in (b"", b"\n")) for content in contents)
    assert found.lines["Python"] == lines


@pytest.mark.parametrize("changed_at", [0, 1_000_000, -1])
def test_a_file_changed_by_hand_is_found(tmp_path: Path, changed_at: int) -> None:
    # A real distribution, copied with its RECORD, and one byte of one of its files changed.
    origin = distribution("packaging")
    record = next(file for file in origin.files or () if file.name == "RECORD")
    for file in origin.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), tmp_path / file)
    copied = PathDistribution(tmp_path / record.parent)
    untouched = inspect_found(copied)
    target = tmp_path / "packaging" / "markers.py"
    content = bytearray(target.read_bytes())
    content[min(changed_at, len(content) // 2)] ^= 1

    target.write_bytes(content)

    found = inspect_found(copied)
    assert untouched.problems == []
    assert found.problems == [FileProblem("packaging/markers.py", TAMPERED, "its SHA-256 differs")]
    assert found.verified == untouched.verified - 1


def test_a_made_distribution_is_read_as_it_was_written(publish: Publish) -> None:
    publish(
        "made-one",
        "2.1",
        files={
            "made/__init__.py": SOURCE,
            "made/page.html": b"<p>\n</p>\n",
            "made/a,b.js": b"x\n",
            "made/picture.png": b"\n\n\n",
        },
    )

    found = inspect("made_one")

    assert (found.name, found.version) == ("made-one", "2.1")
    assert (found.files, found.verified) == (6, 5)
    assert found.lines == {"Python": 3, "HTML": 2, "JavaScript": 1}
    assert (found.problems, found.unsatisfied, found.remarks) == ([], [], [])


def test_a_file_of_another_size_is_found(publish: Publish) -> None:
    site = publish("made", files={"made.py": SOURCE})

    (site / "made.py").write_bytes(SOURCE + b"\n")

    [problem] = inspect("made").problems
    assert (problem.path, problem.kind) == ("made.py", TAMPERED)
    assert problem.reason == f"has {len(SOURCE) + 1} bytes, RECORD says {len(SOURCE)}"


def test_a_missing_file_is_found(publish: Publish) -> None:
    site = publish("made", files={"made.py": SOURCE, "other.py": SOURCE})

    (site / "made.py").unlink()

    found = inspect("made")
    assert [(problem.path, problem.kind) for problem in found.problems] == [("made.py", MISSING)]
    assert found.lines == {"Python": 3}


def test_a_file_that_became_a_folder_is_unreadable(publish: Publish) -> None:
    site = publish("made", files={"made.py": SOURCE})

    (site / "made.py").unlink()
    (site / "made.py").mkdir()

    assert [problem.kind for problem in inspect("made").problems] == [UNREADABLE]


def test_a_row_without_a_digest_asks_only_that_the_file_is_there(publish: Publish) -> None:
    site = publish("made", extra_rows=["written.py,,", "gone.py,,", "__pycache__/x.pyc,,"])
    (site / "written.py").write_bytes(SOURCE)

    found = inspect("made")

    assert [(problem.path, problem.kind) for problem in found.problems] == [("gone.py", MISSING)]
    assert found.verified == 1  # METADATA
    assert found.unverified == ["files without a digest in its RECORD (1): written.py"]
    assert found.lines == {"Python": 3}


def test_a_digest_of_a_weak_kind_proves_nothing(publish: Publish) -> None:
    site = publish("made", extra_rows=["old.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0"])
    (site / "old.py").touch()

    [problem] = inspect("made").problems

    assert (problem.path, problem.kind) == ("old.py", UNREADABLE)


def test_an_empty_file_matches_the_digest_of_nothing(publish: Publish) -> None:
    site = publish("made", extra_rows=[f"empty.py,{DIGEST_OF_NOTHING},0"])
    (site / "empty.py").touch()

    found = inspect("made")

    assert found.problems == []
    assert found.lines == {"Python": 0}


@pytest.mark.parametrize("path", ["/dev/zero", "nul\0.py", "x" * 5000])
def test_a_row_that_names_no_readable_file_ends_no_audit(publish: Publish, path: str) -> None:
    publish("made", extra_rows=[f"{path},{DIGEST_OF_NOTHING},0"])

    [problem] = inspect("made").problems

    assert (problem.path, problem.kind) == (path, UNREADABLE)


@pytest.mark.parametrize("content", [b"\xff\xfe,,", b'"' + b"x" * 200_000 + b'",,'])
def test_a_damaged_record_is_said(publish: Publish, content: bytes) -> None:
    site = publish("made")
    (site / "made-1.0.dist-info" / "RECORD").write_bytes(content)

    found = inspect("made")

    [reason] = found.unverified
    assert "RECORD" in reason
    assert found.verified == 0


def test_metadata_that_is_not_utf8_is_found(publish: Publish) -> None:
    site = publish("made")
    (site / "made-1.0.dist-info" / "METADATA").write_bytes(b"Name: made\xff\n\n")

    found = inspect("made")

    assert "made" in installed_names()
    assert [problem.kind for problem in found.problems] == [TAMPERED]
    assert found.remarks == ["has no readable METADATA: licence and requirements are unknown"]


def test_no_record_is_said(publish: Publish) -> None:
    publish("made", files={"made.py": SOURCE}, record=False)

    found = inspect("made")

    assert found.unverified == ["has no readable RECORD: no file can be verified"]
    assert (found.files, found.verified) == (0, 0)


def test_a_source_tree_is_inspected_by_its_egg_info(site: Path) -> None:
    folder = site / "made.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Name: made\nVersion: 1.0\nLicense: Zlib\n\n")
    (folder / "requires.txt").write_text("absent\n\n[dev]\nabsent-too\n")
    importlib.invalidate_caches()

    found = inspect("made")

    assert (found.version, found.licence) == ("1.0", "Zlib")
    assert [lacking.requirement for lacking in found.unsatisfied] == ["absent"]
    assert found.unverified == [
        "is a source tree or a system package (egg-info), which has no RECORD"
    ]


def test_an_editable_install_is_said(publish: Publish) -> None:
    origin = json.dumps({"url": "file:///src", "dir_info": {"editable": True}}).encode()
    publish("made", files={"made-1.0.dist-info/direct_url.json": origin})

    [reason] = inspect("made").unverified

    assert reason.startswith("editable install")


def test_an_installation_is_inspected_although_a_clones_egg_info_comes_first(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("made", "1.5", files={"made.py": SOURCE})
    clone = tmp_path / "clone"
    (clone / "made.egg-info").mkdir(parents=True)
    (clone / "made.egg-info" / "PKG-INFO").write_text("Name: made\nVersion: 1.0\n\n")
    monkeypatch.syspath_prepend(str(clone))

    found = inspect("made")

    assert (found.version, found.verified, found.unverified) == ("1.5", 2, [])


def test_a_folder_without_metadata_is_inspected_too(publish: Publish) -> None:
    site = publish("made", files={"made.py": SOURCE})
    (site / "made-1.0.dist-info" / "METADATA").unlink()

    found = inspect("made")

    assert "made" in installed_names()
    assert found.name == "made"
    assert found.remarks == ["has no readable METADATA: licence and requirements are unknown"]
    assert [problem.kind for problem in found.problems] == [MISSING]


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        (["License-Expression: MIT OR Apache-2.0", "License: Something"], "MIT OR Apache-2.0"),
        (["Classifier: License :: OSI Approved :: MIT License", "License: Text"], "MIT"),
        (
            [
                "Classifier: License :: OSI Approved",
                "Classifier: License :: OSI Approved :: BSD License",
                "Classifier: License :: OSI Approved :: Apache Software License",
            ],
            "Apache Software License / BSD License",
        ),
        (["License: Zlib"], "Zlib"),
        (
            ["License: " + "All rights are granted " * 9],
            "All rights are granted All rights are granted All rights ar…",
        ),
        (["License: UNKNOWN"], "not stated"),
        ([], "not stated"),
    ],
)
def test_the_licence_is_read_from_the_best_field(
    publish: Publish, headers: list[str], licence: str
) -> None:
    publish("made", headers=headers)

    assert inspect("made").licence == licence


@pytest.mark.parametrize("name", ["x" * 230, "nul\0here", "not-as-its-folder"])
def test_a_name_that_no_folder_has_is_inspected_too(publish: Publish, name: str) -> None:
    site = publish("made")
    (site / "made-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {'1' * 230}\n")

    [listed] = [one for one in installed_names() if one.startswith(name[:3])]

    found = inspect(listed)
    assert (found.name, len(found.version)) == (listed, LONGEST_NAME)
    assert len(listed) <= LONGEST_NAME
    assert "\0" not in listed


def test_a_requirement_whose_metadata_is_damaged_ends_no_audit(publish: Publish) -> None:
    site = publish("damaged")
    (site / "damaged-1.0.dist-info" / "METADATA").write_bytes(b"Name: damaged\xff\n\n")
    publish("made", headers=["Requires-Dist: damaged>=1", "Requires-Dist: damaged"])

    [lacking] = inspect("made").unsatisfied

    assert lacking.requirement == "damaged>=1"
    assert lacking.reason == "is installed, in a version that can't be read"


def test_requirements_that_are_not_utf8_end_no_audit(site: Path) -> None:
    folder = site / "made.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Name: made\nVersion: 1.0\n\n")
    (folder / "requires.txt").write_bytes(b"absent\xff\n")
    importlib.invalidate_caches()

    assert inspect("made").version == "1.0"


def test_a_name_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(PackageNotFoundError):
        inspect("no-such-distribution-here")


def test_names_are_listed_once_and_normalised(publish: Publish) -> None:
    publish("Made.Thing")
    publish("Django", "0.1")  # shadows the real one

    names = installed_names()

    assert names == sorted(set(names))
    assert {"made-thing", "django", "packaging", "redis"} <= set(names)
    assert version("Django") == "0.1" == inspect("django").version


def test_names_are_what_pip_lists() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True,
        check=True,
    )
    ours = set(installed_names())

    theirs = {
        row["name"].lower().replace("_", "-").replace(".", "-") for row in json.loads(listed.stdout)
    }
    assert theirs == ours
