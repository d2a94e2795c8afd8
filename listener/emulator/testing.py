"""An emulator as a test wants it: with its queues, jobs, faults, requests and clock at hand.

The fixtures ``mns_emulator`` and ``mns_emulator_module`` (``listener/pytest_plugin.py``) hand it out; other
runners use ``emulator()`` as a context manager. Everything here is called from the thread of the test.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import unescape

from pydantic import TypeAdapter

from listener.emulator.emulator import Emulator
from listener.emulator.faults import FaultKind, parse
from listener.emulator.mns.arguments import check_attributes, check_queue_name
from listener.emulator.mns.errors import MnsError
from listener.emulator.mns.queue import READY, Attributes, EmulatedQueue, StoredMessage, draft
from listener.emulator.mns.topics import ACCOUNT_ID
from listener.emulator.mps.jobs import EmulatedJob
from listener.emulator.options import DEFAULT_PIPELINE_ID, Options
from listener.emulator.request_log import FILTERS
from listener.emulator.rpc.call import Call
from listener.emulator.server import RunningEmulator, running


@contextmanager
def emulator(**options: Any) -> Iterator[MnsEmulator]:
    """Serve an emulator on a free port; ``options`` are those of ``listener.emulator.Options``.

    Raises ValueError for values that cannot work.
    """
    with running(TypeAdapter(Options).validate_python(options)) as server:
        yield MnsEmulator(server)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A message in a queue, as it is without being received."""

    message_id: str
    body: str
    state: str  #: visible, received or delayed
    dequeue_count: int
    enqueued_at: datetime
    group: str
    priority: int

    def callback(self) -> dict[str, Any]:
        """The JSON object in the body, which may be base64. Raises ValueError if there is none."""
        text = self.body
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pass  # it is not base64
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError(f"no JSON object: {text[:80]}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job of MPS at this moment."""

    job_id: str
    kind: str  #: IProduction, Transcode, …
    function: str
    state: str
    history: tuple[str, ...]  #: all states, in order
    user_data: str


class MnsEmulator:
    """A running emulator: one account with the queues and topics of MNS, and the jobs of MPS."""

    def __init__(self, server: RunningEmulator) -> None:
        self._server = server
        self.options = server.emulator.options
        self.endpoint = server.url  #: of MNS: ``http://127.0.0.1:PORT``
        self.mps_endpoint = server.url.removeprefix("http://")  #: of MPS, with the protocol http
        self.access_key_id = self.options.access_key_id
        self.access_key_secret = self.options.access_key_secret
        self.account_id = ACCOUNT_ID
        self.pipeline_id = DEFAULT_PIPELINE_ID  #: exists from the start
        self.faults = EmulatorFaults(server)
        self.clock = EmulatorClock(server)

    def create_queue(self, name: str, **attributes: Any) -> None:
        """Create a queue; ``attributes`` are those of ``Attributes``, e.g. ``visibility_timeout=5``.

        One that exists with the same attributes stays as it is. Raises ValueError for what the service refuses.
        """
        wanted = Attributes(**attributes)

        def create(it: Emulator) -> None:
            check_queue_name(name)
            check_attributes(wanted)
            known = it.mns.queues.get(name)
            if known is None:
                it.mns.create(name, wanted)
            elif known.attributes != wanted:
                raise MnsError("QueueAlreadyExist")

        try:
            self._server.call(create)
        except MnsError as error:
            raise ValueError(f"queue {name!r}: {error.code}: {error.text}") from error

    def bind_pipeline(self, queue: str, *, pipeline_id: str = DEFAULT_PIPELINE_ID) -> None:
        """Let a pipeline send the callbacks of its jobs to a queue, as UpdatePipeline does."""

        def bind(it: Emulator) -> None:
            it.engine.pipelines[pipeline_id].notify = {"QueueName": queue}

        self._server.call(bind)

    def notify_url(self, queue: str) -> str:
        """The NotifyUrl by which a job is called back in a queue."""
        return f"mns://{self.account_id}.mns.cn-shanghai.aliyuncs.com/queues/{queue}"

    def send(self, queue: str, text: str, *, delay: timedelta = timedelta(0)) -> str:
        """Put a text into a queue, and return the ID of the message. KeyError if there is no such queue."""
        message = draft(text, delay_seconds=int(delay.total_seconds()))
        return self._server.call(lambda it: _queue(it, queue).send([message])[0].message_id)

    def messages(self, queue: str) -> list[QueuedMessage]:
        """What is in a queue, in the order of sending, without receiving it. KeyError if there is no such queue."""
        return self._server.call(lambda it: [_queued(message) for message in _queue(it, queue).messages()])

    def submit_job(
        self, function: str = "Cover", *, queue: str = "", user_data: str = "", fail: bool = False
    ) -> str:
        """Submit a job as SubmitIProductionJob does, and return its ID. It is called back in ``queue``."""
        name = "fail" if fail else "talk"
        parameters = {
            "FunctionName": function,
            "Input": f"oss://media.oss-cn-shanghai.aliyuncs.com/in/{name}.mp4",
            "Output": "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}",
            "UserData": user_data,
            "NotifyUrl": self.notify_url(queue) if queue else "",
        }
        call = Call(action="SubmitIProductionJob", version="", parameters=parameters, json=True)
        return self._server.call(lambda it: str(it.mps.operations[call.action](call)["JobId"]))

    def jobs(self) -> list[JobView]:
        """All jobs that were submitted, in their order."""
        return self._server.call(lambda it: [_view(job) for job in it.engine.jobs.values()])

    def job(self, job_id: str) -> JobView:
        """KeyError if there is no such job."""
        return self._server.call(lambda it: _view(it.engine.jobs[job_id]))

    def finish_job(self, job_id: str, *, fail: bool = False) -> JobView:
        """End a job now and call it back, whatever its duration; one that is over stays as it is."""

        def finish(it: Emulator) -> JobView:
            job = it.engine.jobs[job_id]
            job.fails = job.fails or fail
            it.engine.finish_now(job)
            return _view(job)

        return self._server.call(finish)

    def requests(self, *, after: int = 0, **patterns: object) -> list[dict[str, Any]]:
        """The last requests and what became of them; ``operation="*Receive*", status=404`` selects some."""
        if unknown := patterns.keys() - set(FILTERS):
            raise TypeError(f"{min(unknown)!r} is not one of {', '.join(FILTERS)}")
        texts = {name: str(pattern) for name, pattern in patterns.items()}
        return self._server.call(lambda it: it.log.select(texts, after=after))

    def reset(self) -> None:
        """Return to the initial state: for an emulator that several tests share."""
        self._server.call(Emulator.reset)

    def call(self, function: Callable[[Emulator], Any]) -> Any:
        """Run a function on the event loop of the emulator, for what is missing here."""
        return self._server.call(function)


class EmulatorFaults:
    """The faults that are injected into requests and callbacks."""

    def __init__(self, server: RunningEmulator) -> None:
        self._server = server

    def add(self, kind: str, **fields: Any) -> None:
        """Add a fault: ``add("throttle", operation="SendMessage", count=2)``. Raises FaultError."""
        added = parse({**fields, "kind": kind})
        self._server.call(lambda it: it.faults.add(added))

    def happened(self, kind: str) -> int:
        """How often faults of a kind took effect. ValueError if there is no such kind."""
        wanted = FaultKind(kind)
        return self._server.call(lambda it: it.faults.happened(wanted))

    def clear(self) -> None:
        self._server.call(lambda it: it.faults.clear())


class EmulatorClock:
    """The clock of the emulator; that of the test is another one."""

    def __init__(self, server: RunningEmulator) -> None:
        self._server = server

    def now(self) -> datetime:
        return self._server.call(lambda it: it.clock.now())

    def advance(self, by: timedelta | None = None, **units: float) -> None:
        """Jump ahead: ``advance(days=7)``. What is due on the way happens at its own time."""
        seconds = (by or timedelta(**units)).total_seconds()
        self._server.run(lambda it: it.clock.advance(seconds))

    def set_scale(self, scale: float) -> None:
        """Let this many seconds pass in each second."""
        self._server.call(lambda it: it.clock.set_scale(scale))


def _queue(it: Emulator, name: str) -> EmulatedQueue:
    if name not in it.mns.queues:
        raise KeyError(f"there is no queue {name!r}")
    return it.mns.queues[name]


def _queued(message: StoredMessage) -> QueuedMessage:
    waiting = "received" if message.count else "delayed"
    return QueuedMessage(
        message_id=message.message_id,
        body=unescape(message.body, {"&#13;": "\r"}),
        state="visible" if message.place == READY else waiting,
        dequeue_count=message.count,
        enqueued_at=datetime.fromtimestamp(message.enqueued_ms / 1000, UTC),
        group=message.group,
        priority=message.priority,
    )


def _view(job: EmulatedJob) -> JobView:
    return JobView(
        job_id=job.id,
        kind=job.kind.api.name,
        function=job.function,
        state=job.state,
        history=tuple(job.history),
        user_data=job.submission.user_data,
    )
