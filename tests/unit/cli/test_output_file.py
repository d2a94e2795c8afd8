"""Files that commands write are there as a whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from listener.cli.output_file import output_file
from listener.core.errors import UsageError


def test_a_file_appears_once_it_is_complete_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    with output_file(path) as file:
        file.write("one\n")
        assert not path.exists()

    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one\n", 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["all.jsonl"]


def test_a_failure_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("the export of yesterday")

    with pytest.raises(UnicodeEncodeError), output_file(path) as file:
        file.writelines(["a part", "\ud800"])

    assert path.read_text() == "the export of yesterday"
    assert [each.name for each in tmp_path.iterdir()] == ["all.jsonl"]


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    missing = output_file(tmp_path / "no" / "all.jsonl")

    with pytest.raises(UsageError, match=r"cannot write to '.*/no/all\.jsonl': No such file"), missing:
        pass


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()

    with output_file(path) as file:
        file.write("one\n")

    reader.join()
    assert (read, path.is_fifo()) == (["one\n"], True)
