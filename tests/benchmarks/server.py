"""A queue of MNS that is never the bottleneck: one queue, replies rendered before they are asked for.

``python -m tests.benchmarks.server`` prints its port. It speaks enough of MNS 2015-06-06 for a consumer: receive and
delete, single and batch, long polls. Not checked: signatures and dates. Left out: visibility. What was received never
comes back, so that a consumer which loses a message, or its deletion, is stuck instead of measured. ``/_bench/…`` is
for the benchmark: fill, pace, reset, state.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from listener.emulator.mns.queue import body_md5
from tests.benchmarks.callbacks import body

ROOT = ' xmlns="http://mns.aliyuncs.com/doc/v1"'
HEAD = '<?xml version="1.0" ?>\n'
HANDLE = re.compile(rb"<ReceiptHandle>([^<]*)</ReceiptHandle>")
REASONS = {200: "OK", 204: "No Content", 404: "Not Found"}
#: Where messages are sent at a pace: how often to look whether the next is due, in seconds.
PACE_TICK = 0.001


@dataclass
class Counts:
    """What the server has seen since the last reset; times are seconds since 1970."""

    requests: int = 0
    received: int = 0
    deleted: int = 0
    refused: int = 0
    first_received: float = 0.0
    last_deleted: float = 0.0
    polls: list[float] = field(default_factory=list)  #: when each receive was asked for


class BenchmarkQueue:
    """Messages in the order of their sending, each of them received once."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.delay = 0.0  #: seconds added to each request
        self._waiting: deque[tuple[str, str]] = deque()  #: handle and rendered message
        self._invisible: set[str] = set()
        self._asleep: deque[asyncio.Future[None]] = deque()
        self._sent = 0
        self._pacing: asyncio.Task[None] | None = None

    def send(self, text: str) -> None:
        self._sent += 1
        handle = f"8-Bz{self._sent:028d}"
        self._waiting.append((handle, _rendered(handle, self._sent, text)))
        if self._asleep:
            self._wake(self._asleep.popleft())

    def reset(self) -> None:
        """Forget messages and counts."""
        self._waiting.clear()
        self._invisible.clear()
        self.counts = Counts()

    def take(self, limit: int) -> list[str]:
        """Up to so many rendered messages, now invisible."""
        taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self._invisible.update(handle for handle, _ in taken)
        if taken:
            self.counts.first_received = self.counts.first_received or time.time()
            self.counts.received += len(taken)
        return [text for _, text in taken]

    def delete(self, handles: list[str]) -> list[str]:
        """Returns those that are not the handle of anything received."""
        unknown = [handle for handle in handles if handle not in self._invisible]
        self._invisible.difference_update(handles)
        self.counts.deleted += len(handles) - len(unknown)
        self.counts.refused += len(unknown)
        self.counts.last_deleted = time.time()
        return unknown

    async def some(self, wait: float) -> None:
        """Return once there is something, or the wait is over."""
        if self._waiting or not wait:
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._asleep.append(woken)
        timer = loop.call_later(wait, self._wake, woken)
        try:
            await woken
        finally:
            timer.cancel()
            if woken in self._asleep:
                self._asleep.remove(woken)

    def pace(self, series: str, *, rate: float, count: int) -> None:
        """Send so many, so many a second. Their user data is the time at which each was due, in ns."""
        self._pacing = asyncio.get_running_loop().create_task(self._send_paced(series, rate, count))

    async def _send_paced(self, series: str, rate: float, count: int) -> None:
        started = time.time_ns()
        sent = 0
        while sent < count:
            due = min(count, int((time.time_ns() - started) * rate / 1e9) + 1)
            for number in range(sent, due):
                self.send(body(series, number, user_data=str(started + int(number * 1e9 / rate))))
            sent = due
            await asyncio.sleep(PACE_TICK)

    @staticmethod
    def _wake(woken: asyncio.Future[None]) -> None:
        if not woken.done():
            woken.set_result(None)

    def state(self) -> dict[str, Any]:
        return {**vars(self.counts), "waiting": len(self._waiting), "invisible": len(self._invisible)}


def _rendered(handle: str, number: int, text: str) -> str:
    """One message as MNS writes it in a batch."""
    now = int(time.time() * 1000)
    fields = {
        "MessageId": f"{number:032X}",
        "ReceiptHandle": handle,
        "MessageBody": text,
        "MessageBodyMD5": body_md5(text),
        "EnqueueTime": now,
        "NextVisibleTime": now + 3_600_000,
        "FirstDequeueTime": now,
        "DequeueCount": 1,
        "Priority": 8,
    }
    return "".join(f"    <{name}>{value}</{name}>\n" for name, value in fields.items())


class Connection(asyncio.Protocol):
    """One client: requests are answered in the order in which they came."""

    def __init__(self, queue: BenchmarkQueue) -> None:
        self._queue = queue
        self._read = b""
        self._requests: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        self._commands: Mapping[str, Callable[[dict[str, str]], None]] = {
            "fill": self._fill,
            "pace": self._pace,
            "reset": self._reset,
            "state": lambda _query: None,
        }

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        self._serving.cancel()

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"\r\ncontent-length: *(\d+)", self._read[:end].lower())
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._read) < whole:
                return
            self._requests.put_nowait((self._read[:end], self._read[end + 4 : whole]))
            self._read = self._read[whole:]

    async def _serve(self) -> None:
        while True:
            head, content = await self._requests.get()
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            if target.startswith("/_bench/"):
                self._command(target)
                continue
            self._queue.counts.requests += 1
            if self._queue.delay:
                await asyncio.sleep(self._queue.delay)
            # Handles are sent as they are: + and / are part of them.
            query = dict(parse_qsl(target.partition("?")[2].replace("+", "%2B")))
            if method == "GET":
                await self._receive(query)
            else:
                self._delete(query, content)

    async def _receive(self, query: dict[str, str]) -> None:
        queue = self._queue
        queue.counts.polls.append(time.time())
        await queue.some(float(query.get("waitseconds", 0)))
        taken = queue.take(int(query.get("numOfMessages", 1)))
        if not taken:
            self._reply(404, _error("MessageNotExist", "Message not exist."))
        elif "numOfMessages" in query:
            parts = "".join(f"  <Message>\n{text}  </Message>\n" for text in taken)
            self._reply(200, f"{HEAD}<Messages{ROOT}>\n{parts}</Messages>")
        else:
            self._reply(200, f"{HEAD}<Message{ROOT}>\n{taken[0]}</Message>")

    def _delete(self, query: dict[str, str], content: bytes) -> None:
        single = query.get("ReceiptHandle")
        unknown = self._queue.delete(
            [single] if single else [each.decode() for each in HANDLE.findall(content)]
        )
        if not unknown:
            self._reply(204, "")
        elif single:
            self._reply(404, _error("MessageNotExist", "Message not exist."))
        else:
            self._reply(404, _refusals(unknown))

    def _reply(self, status: int, text: str, *, kind: str = "text/xml;charset=utf-8") -> None:
        content = text.encode()
        length = "" if status == 204 else f"Content-Length: {len(content)}\r\n"
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nServer: AliyunMQS\r\nConnection: keep-alive\r\n"
            f"Date: {formatdate(usegmt=True)}\r\nContent-Type: {kind}\r\nx-mns-version: 2015-06-06\r\n"
            f"x-mns-request-id: {'0' * 24}\r\n{length}\r\n"
        )
        self._transport.write(head.encode() + content)

    def _command(self, target: str) -> None:
        name, _, query = target.removeprefix("/_bench/").partition("?")
        self._commands[name](dict(parse_qsl(query)))
        self._reply(200, json.dumps(self._queue.state()), kind="application/json")

    def _fill(self, query: dict[str, str]) -> None:
        for number in range(int(query["count"])):
            self._queue.send(body(query["series"], number))

    def _pace(self, query: dict[str, str]) -> None:
        self._queue.pace(query["series"], rate=float(query["rate"]), count=int(query["count"]))

    def _reset(self, query: dict[str, str]) -> None:
        self._queue.reset()
        self._queue.delay = float(query["delay"])


def _error(code: str, text: str) -> str:
    fields = f"<Code>{code}</Code><Message>{text}</Message><RequestId>{'0' * 24}</RequestId>"
    return f"{HEAD}<Error{ROOT}>{fields}<HostId>http://127.0.0.1</HostId></Error>"


def _refusals(handles: list[str]) -> str:
    refused = "".join(
        "<Error><ErrorCode>MessageNotExist</ErrorCode><ErrorMessage>Message not exist.</ErrorMessage>"
        f"<ReceiptHandle>{handle}</ReceiptHandle></Error>"
        for handle in handles
    )
    return f"{HEAD}<Errors{ROOT}>{refused}</Errors>"


async def _run() -> None:
    queue = BenchmarkQueue()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(queue), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it: then its standard input is closed.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_run())
