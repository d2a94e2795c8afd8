from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from listener.handlers.jsonl import jsonl

from listener import Unavailable
from listener.core.errors import SettingsError
from listener.dispatch.handler_loader import load
from tests.support.results import a_job_result

WRITER = """
import sys
from pathlib import Path
from listener.handlers.jsonl import jsonl
from tests.support.results import a_job_result
write = jsonl(path=Path(sys.argv[1]))
for number in range(200):
    write(a_job_result(job_id=sys.argv[2], attempt=number, raw=sys.argv[2] * (number * 97 % 9000)))
"""

SMALL_FILES_ONLY = """
import resource, sys
from pathlib import Path
from listener.handlers.jsonl import jsonl
from listener import Unavailable
from tests.support.results import a_job_result
write = jsonl(path=Path(sys.argv[1]))
write(a_job_result())
limit = Path(sys.argv[1]).stat().st_size + 10
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write(a_job_result())
except Unavailable:
    print("unavailable")
"""


def _job_ids(file: Path) -> list[str]:
    return [json.loads(line)["job_id"] for line in file.read_text("utf-8").splitlines()]


def test_a_line_is_the_whole_result(tmp_path: Path) -> None:
    result = a_job_result(message="two\nlines", details=(1, {"a": [2]}))

    jsonl(path=tmp_path / "results", fsync=True)(result)

    [line] = (tmp_path / "results").read_text("utf-8").splitlines()
    assert json.loads(line) == result.to_document()
    assert "早安" in line


def test_lines_of_parallel_processes_never_mix(tmp_path: Path) -> None:
    file = tmp_path / "results"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, file, letter]) for letter in "abcd"]

    assert [writer.wait(120) for writer in writers] == [0, 0, 0, 0]
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(lines) == 800
    assert {(line["job_id"], line["attempt"]) for line in lines} == {
        (i, n) for i in "abcd" for n in range(200)
    }
    assert [line for line in lines if set(line["raw"]) - {line["job_id"]}] == []


def test_a_partially_written_line_affects_no_other(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_bytes(b'{"job_id":"whole"}\n{"job_id":"to')

    write = jsonl(path=file)
    write(a_job_result(job_id="next"))
    write(a_job_result(job_id="last"))

    lines = file.read_text("utf-8").splitlines()
    assert lines[1] == '{"job_id":"to'
    assert [json.loads(line)["job_id"] for line in lines[:1] + lines[2:]] == ["whole", "next", "last"]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "results"
    write = jsonl(path=file)

    write(a_job_result(job_id="old"))
    file.rename(tmp_path / "results.1")
    write(a_job_result(job_id="new"))

    assert [_job_ids(tmp_path / "results.1"), _job_ids(file)] == [["old"], ["new"]]


def test_a_full_disk_spends_no_attempt() -> None:
    with pytest.raises(Unavailable, match="No space left on device"):
        jsonl(path=Path("/dev/full"))(a_job_result())


def test_a_line_that_fits_only_in_part_is_taken_back(tmp_path: Path) -> None:
    run = [sys.executable, "-c", SMALL_FILES_ONLY, tmp_path / "results"]

    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "unavailable\n"
    assert _job_ids(tmp_path / "results") == [a_job_result().job_id]


def test_checking_the_settings_creates_nothing(tmp_path: Path) -> None:
    load("jsonl", {"path": str(tmp_path / "results")}, where="routes.a.handlers[0]")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["missing/results", "."])
def test_a_path_that_can_not_be_a_file_is_refused_at_start(path: str, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^routes\.a\.handlers\[0\]: handler 'jsonl' could not be created: .*directory"
    ):
        load("jsonl", {"path": str(tmp_path / path)}, where="routes.a.handlers[0]")
