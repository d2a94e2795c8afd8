"""``mns-listener new-handler``: which names it takes, and what it writes."""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path

import pytest

from tests.support.cases import each_case
from tests.support.command_line import Invoke

FILES = {"pyproject.toml", "cover_notes.py", "tests", "README.md", ".gitignore"}


def test_the_package_has_the_name_and_an_entry_point_of_it(tmp_path: Path, invoke: Invoke) -> None:
    result = invoke("new-handler", "cover-notes")

    assert result.exit_code == 0, result.output
    project = tomllib.loads((tmp_path / "cover-notes" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "cover-notes"
    assert project["entry-points"] == {"mns_listener.handlers": {"cover-notes": "cover_notes:cover_notes"}}
    assert {path.name for path in (tmp_path / "cover-notes").iterdir()} == FILES
    assert "pip install -e '.[test]' && pytest" in result.stdout


def test_every_file_is_complete(tmp_path: Path, invoke: Invoke) -> None:
    invoke("new-handler", "x1_y")

    texts = {path.name: path.read_text() for path in (tmp_path / "x1_y").rglob("*") if path.is_file()}
    assert len(texts) == 5
    for name, text in texts.items():
        assert "{name}" not in text
        assert "{module}" not in text
        assert "{{" not in text, name
        if name.endswith(".py"):
            compile(text, name, "exec")


def test_it_is_written_into_another_folder(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "src").mkdir()

    assert invoke("new-handler", "notes7", "--into", "src").exit_code == 0
    assert (tmp_path / "src" / "notes7" / "notes7.py").is_file()


@pytest.mark.parametrize("is_file", [False, True])
def test_what_exists_is_not_touched(tmp_path: Path, invoke: Invoke, is_file: bool) -> None:
    there = tmp_path / "cover-notes"
    there.write_text("mine") if is_file else there.mkdir()

    result = invoke("new-handler", "cover-notes")

    assert result.exit_code == 73
    assert "exists already; choose another name or folder" in result.stderr
    assert there.is_file() is is_file
    assert ([] if is_file else list(there.iterdir())) == []


@each_case(
    ("name", "reason"),
    [
        *(
            (name, "is not a valid name")
            for name in ("", "Cover", "7up", "a b", "a/b", "../a", "a--b", "-a", "ä")
        ),
        ("x" * 51, "is not a valid name"),
        ("class", "is a keyword of Python"),
        ("webhook", "a handler 'webhook' is installed already"),
        ("json", "there is a Python module 'json' already"),
        ("listener", "there is a Python module 'listener' already"),
    ],
)
def test_a_name_that_cannot_work_is_refused(tmp_path: Path, invoke: Invoke, name: str, reason: str) -> None:
    result = invoke("new-handler", "--", name)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def fails_late(path: Path, text: str, **options: str) -> int:
        if path.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, text, **options)

    monkeypatch.setattr(Path, "write_text", fails_late)

    result = invoke("new-handler", "cover-notes")

    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []
