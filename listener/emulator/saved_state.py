"""The state of an emulator in its file: saved before each reply, and restored at the start.

Messages and jobs, of which there may be many, are written as they change. All else is little, and compared with what
was written last, so that nothing has to note that it has changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from listener.emulator.data_codec import dumps, encoded, fields_of
from listener.emulator.data_file import DataFile, Key
from listener.emulator.emulator import Emulator
from listener.emulator.mns.queue import GONE, EmulatedQueue, StoredMessage
from listener.emulator.mps.jobs import EmulatedJob

#: Operations that change messages and nothing else.
OF_MESSAGES = frozenset(
    f"{batch}{operation}"
    for batch in ("", "Batch")
    for operation in ("SendMessage", "ReceiveMessage", "PeekMessage", "DeleteMessage")
) | {"ChangeMessageVisibility"}
#: The kinds of records that are compared.
COMPARED = frozenset(
    {"account", "clock", "queue", "topic", "subscription", "pipeline", "workflow"}
    | {"callback", "push", "late push"}
)


@dataclass(slots=True)
class _Change:
    """What one transaction writes."""

    put: dict[Key, str] = field(default_factory=dict)
    removed: list[Key] = field(default_factory=list)


def kind_of_messages(queue: str) -> str:
    return f"message {queue}"


class SavedState:
    """Writes what has changed since the last time."""

    def __init__(self, emulator: Emulator, file: DataFile) -> None:
        self._emulator = emulator
        self._file = file
        self._written: dict[Key, str] = {}
        self._open_jobs: dict[str, tuple[object, ...]] = {}  #: what of a job can change, by id
        self._jobs_seen = 0

    def save(self, *, operation: str = "") -> None:
        """Write all changes. ``operation`` has caused them; without it anything may have changed.

        Raises sqlite3.Error; the next call writes everything then.
        """
        change = _Change()
        if operation not in OF_MESSAGES:
            self._compare(change)
            self._add_jobs(change)
        changed = [queue for queue in self._emulator.mns.queues.values() if queue.changed]
        for queue in changed:
            _add_messages(queue, change)
        if not (change.put or change.removed):
            return
        try:
            self._file.write(
                [(*key, text) for key, text in change.put.items()],
                removed=change.removed,
                removed_kinds=[kind_of_messages(name) for kind, name in change.removed if kind == "queue"],
            )
        except sqlite3.Error:
            self._written.clear()
            self._open_jobs, self._jobs_seen = {}, 0
            raise
        for key in change.removed:
            self._written.pop(key, None)
        self._written |= {key: text for key, text in change.put.items() if key[0] in COMPARED}
        for queue in changed:
            queue.track(everything=False)

    def clear(self) -> None:
        """Forget all that was written: the emulator is reset."""
        self._file.clear()
        self._written.clear()
        self._open_jobs.clear()
        self._jobs_seen = 0

    def close(self) -> None:
        self._file.close()

    def _compare(self, change: _Change) -> None:
        for queue in self._emulator.mns.queues.values():
            if queue.changed is None:
                queue.track(everything=True)
        there: set[Key] = set()
        for kind, name, value in records(self._emulator):
            text = dumps(value)
            there.add((kind, name))
            if self._written.get((kind, name)) != text:
                change.put[kind, name] = text
        change.removed += self._written.keys() - there

    def _add_jobs(self, change: _Change) -> None:
        jobs = self._emulator.engine.jobs
        for job in islice(jobs.values(), self._jobs_seen, None):
            self._open_jobs[job.id] = ()
        self._jobs_seen = len(jobs)
        for job_id, last in list(self._open_jobs.items()):
            job = jobs[job_id]
            current = _changeable(job)
            if current != last:
                change.put["job", job_id] = dumps(fields_of(job))
                self._open_jobs[job_id] = current
            if job.over and job.message_id is not None:
                del self._open_jobs[job_id]


def _add_messages(queue: EmulatedQueue, change: _Change) -> None:
    kind = kind_of_messages(queue.name)
    for order, message in (queue.changed or {}).items():
        if message.place == GONE:
            change.removed.append((kind, str(order)))
        else:
            change.put[kind, str(order)] = dumps(_message_record(message))
    change.put["queue", queue.name] = dumps(_queue_record(queue))


def records(emulator: Emulator) -> Iterator[tuple[str, str, Any]]:
    """Everything but messages and jobs: kind, name and value."""
    yield "clock", "", encoded(emulator.clock.continued())
    yield "account", "", _account_record(emulator)
    for queue in emulator.mns.queues.values():
        yield "queue", queue.name, _queue_record(queue)
    for topic in emulator.mns.topics.by_name.values():
        yield "topic", topic.name, fields_of(topic, without=("subscriptions",))
        for name, subscription in topic.subscriptions.items():
            yield "subscription", f"{topic.name}/{name}", fields_of(subscription)
    for pipeline in emulator.engine.pipelines.values():
        yield "pipeline", pipeline.id, fields_of(pipeline, without=("waiting",))
    for workflow in emulator.mps.workflows.by_id.values():
        yield "workflow", workflow.id, encoded(workflow)
    for number, late in enumerate(emulator.sender.deliveries.pending()):
        yield "callback", f"{number:06}", encoded(late)
    for number, late in enumerate(emulator.notifier.deliveries.pending()):
        yield "late push", f"{number:06}", encoded(late)
    for number, push in enumerate(emulator.notifier.pending()):
        yield "push", f"{number:06}", encoded(push)


def _account_record(emulator: Emulator) -> dict[str, Any]:
    return {
        "starts": emulator.starts,
        "logging_bucket": emulator.mns.logging_bucket,
        "attributes": encoded(emulator.mns_open.account.attributes),
        "endpoint_enabled": emulator.mns_open.endpoints.enabled,
        "admitted": encoded(emulator.mns_open.endpoints.admitted),
        "event_rules": encoded(emulator.mns_open.event_rules.rules),
    }


def _queue_record(queue: EmulatedQueue) -> dict[str, Any]:
    return {
        "attributes": encoded(queue.attributes),
        "features": encoded(queue.features),
        **{name: getattr(queue, name) for name in EmulatedQueue.SAVED},
    }


def _message_record(message: StoredMessage) -> dict[str, Any]:
    return {name: encoded(getattr(message, name)) for name in StoredMessage.__slots__}


def _changeable(job: EmulatedJob) -> tuple[object, ...]:
    """What of a job changes after its submission."""
    return (job.state, job.message_id, job.due, job.started, len(job.history), len(job.parts), job.fails)
