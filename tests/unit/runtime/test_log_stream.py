"""Output never fails and never blocks: what cannot be written is dropped and counted."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from listener.runtime import log_stream
from listener.runtime.log_stream import LogStream
from tests.support.waiting import wait_until

NO_TIME, LONG = timedelta(0), timedelta(seconds=30)


class Reports:
    """What was reported about dropped lines."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, lines: int) -> None:
        self.counts.append(lines)


class Disk(io.StringIO):
    """It is full until ``has_room`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.has_room = False
        self.tried = threading.Event()

    def write(self, text: str, /) -> int:
        if not self.has_room:
            self.tried.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "RETRY_INTERVAL", timedelta(milliseconds=1))


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def pipe() -> Iterator[tuple[io.BufferedReader, io.TextIOWrapper]]:
    readable, writable = os.pipe()
    with open(readable, "rb") as reader, open(writable, "w", encoding="utf-8") as writer:
        yield reader, writer


def test_everything_is_written_in_order_from_every_thread(reports: Reports) -> None:
    target = io.StringIO()
    stream = LogStream(target, report_dropped=reports)

    def write_some(name: str) -> None:
        for number in range(200):
            stream.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write_some, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.finish(LONG)

    lines = target.getvalue().splitlines()
    assert [[line for line in lines if line[0] == name] for name in "abcd"] == [
        [f"{name} {number}" for number in range(200)] for name in "abcd"
    ]
    assert (stream.dropped, reports.counts) == (0, [])


def test_what_a_full_disk_rejected_is_written_once_there_is_room(reports: Reports) -> None:
    disk = Disk()
    stream = LogStream(disk, report_dropped=reports)
    stream.write("one\n")
    assert disk.tried.wait(30)
    stream.write("two\n")

    disk.has_room = True
    wait_until(lambda: disk.getvalue() == "one\ntwo\n")
    stream.finish(LONG)


def test_what_exceeds_the_queue_is_dropped_counted_and_reported(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "MAX_QUEUED", 12)
    disk = Disk()
    stream = LogStream(disk, report_dropped=reports)
    stream.write("first\n")
    assert disk.tried.wait(30)
    for number in range(5):
        stream.write(f"line{number}\n")
    assert stream.dropped == 3

    disk.has_room = True
    wait_until(lambda: disk.getvalue() == "first\nline0\nline1\n")
    stream.write("more\n")
    stream.finish(LONG)
    assert disk.getvalue() == "first\nline0\nline1\nmore\n"
    assert reports.counts == [3]


def test_a_line_longer_than_the_queue_is_written(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "MAX_QUEUED", 2)
    target = io.StringIO()
    stream = LogStream(target, report_dropped=reports)
    stream.write("longer\n")
    stream.finish(LONG)

    assert target.getvalue() == "longer\n"


def test_a_pipe_that_is_not_read_blocks_no_writer(
    pipe: tuple[io.BufferedReader, io.TextIOWrapper], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "MAX_WAIT", NO_TIME)
    reader, writer = pipe
    stream = LogStream(writer, report_dropped=reports)
    while not stream.dropped:
        stream.write("x" * 9_999 + "\n")
    stream.finish(NO_TIME)

    read = [reader.readline()]
    while not reports.counts or len(read[-1]) > 1:
        if reports.counts:
            stream.write("\n")
        read.append(reader.readline())
    assert reports.counts == [stream.dropped]
    assert all(len(line) == 10_000 for line in read[:-1])
    stream.finish(LONG)  # or its thread would write into the next file with this descriptor


def test_a_slowreader_is_waited_for(
    pipe: tuple[io.BufferedReader, io.TextIOWrapper], reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "MAX_WAIT", LONG)
    reader, writer = pipe
    stream = LogStream(writer, report_dropped=reports)
    lines = 3 * log_stream.MAX_QUEUED // 10_000
    writing = threading.Thread(target=lambda: [stream.write("x" * 9_999 + "\n") for _ in range(lines)])
    writing.start()

    assert [len(reader.readline()) for _ in range(lines)] == [10_000] * lines
    writing.join()
    assert stream.dropped == 0
    stream.finish(LONG)


def test_a_non_blocking_file_loses_nothing(
    pipe: tuple[io.BufferedReader, io.TextIOWrapper], reports: Reports
) -> None:
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)
    stream = LogStream(writer, report_dropped=reports)
    stream.write("x" * 500_000 + "\n")

    assert len(reader.readline()) == 500_001
    stream.finish(LONG)


def test_finishing_does_not_wait_for_a_full_disk(reports: Reports) -> None:
    disk = Disk()
    stream = LogStream(disk, report_dropped=reports)
    stream.write("one\n")
    stream.finish(LONG)
    disk.has_room = True
    stream.write("two\n")
    stream.finish(LONG)

    assert disk.getvalue() == "two\n"


def test_an_empty_text_does_not_end_the_writing(reports: Reports) -> None:
    target = io.StringIO()
    stream = LogStream(target, report_dropped=reports)
    for _ in range(1_000):
        stream.write("")
    stream.write("one\n")
    stream.finish(LONG)

    assert target.getvalue() == "one\n"


def test_text_that_the_encoding_lacks_is_escaped(reports: Reports) -> None:
    buffer = io.BytesIO()
    with closing(io.TextIOWrapper(buffer, encoding="ascii")) as target:
        stream = LogStream(target, report_dropped=reports)
        stream.write("é \ud800\n")
        stream.finish(LONG)

        assert buffer.getvalue() == b"\\xe9 \\ud800\n"


def test_it_can_be_used_like_standard_error(
    pipe: tuple[io.BufferedReader, io.TextIOWrapper], reports: Reports
) -> None:
    reader, writer = pipe
    stream = LogStream(writer, report_dropped=reports)
    print("a", "b", file=stream, flush=True)
    stream.write("")
    stream.buffer.write("é\n".encode())
    stream.finish(LONG)

    assert [reader.readline() for _ in range(2)] == [b"a b\n", "é\n".encode()]
    assert (stream.encoding, stream.isatty(), stream.writable()) == ("utf-8", False, True)
    assert stream.fileno() == writer.fileno()
    with pytest.raises(TypeError, match="bytes"):
        stream.write(b"bytes")  # type: ignore[arg-type] # that is what is tested


FORKING = """
import os, sys
from listener.runtime.log_stream import LogStream

stream = LogStream(sys.stdout, report_dropped=print)
stream.write("parent\\n")
child = os.fork()
if not child:
    stream.write("child\\n")
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_child_writes_its_own_lines() -> None:
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], check=True, stdout=subprocess.PIPE, text=True
    ).stdout

    assert "child\n" in output
