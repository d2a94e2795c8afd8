"""Restores the state of an emulator from its file; needs the running event loop, on which what was pending goes on."""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import Any

from listener.emulator.data_codec import decoded, decoded_fields
from listener.emulator.data_file import DataFile
from listener.emulator.emulator import Emulator
from listener.emulator.mns.topics import Subscription, SubscriptionAttributes, Topic
from listener.emulator.mps.jobs import EmulatedJob, Pipeline
from listener.emulator.mps.kinds import EMULATED_KINDS
from listener.emulator.saved_state import kind_of_messages

KINDS = {kind.api.name: kind for kind in EMULATED_KINDS}
#: Of a subscription that was deleted while something was on its way to it: nothing is sent there.
NOWHERE = SubscriptionAttributes(endpoint="http://127.0.0.1/")


def restore(emulator: Emulator, file: DataFile) -> None:
    """Restore what the file has; nothing if it is new."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for kind, name, value in file.read():
        found[kind][name] = value
    if found:
        _Restoration(emulator, found).carry_out()


class _Restoration:
    def __init__(self, emulator: Emulator, found: dict[str, dict[str, Any]]) -> None:
        self._emulator = emulator
        self._found = found

    def carry_out(self) -> None:
        self._emulator.clock.continue_at(self._decoded(self._found["clock"][""]))
        self._account(self._found["account"][""])
        self._pipelines()
        self._queues()
        self._topics()
        self._jobs()
        self._pending()
        self._emulator.engine.advance()

    def _decoded(self, value: Any) -> Any:
        return decoded(value, self._find)

    def _fields(self, saved: dict[str, Any]) -> dict[str, Any]:
        return decoded_fields(saved, self._find)

    def _find(self, kind: str, key: str) -> Any:
        engine = self._emulator.engine
        match kind:
            case "EmulatedKind":
                return KINDS[key]
            case "EmulatedJob":
                return engine.jobs[key]
            case "Pipeline":  # it may have been deleted before its jobs ended
                return engine.pipelines.get(key) or Pipeline(id=key, name="")
        return self._subscription(*key.split("/"))

    def _subscription(self, topic_name: str, name: str) -> Subscription:
        topic = self._emulator.mns.topics.by_name.get(topic_name)
        if topic is not None and name in topic.subscriptions:
            return topic.subscriptions[name]
        return Subscription(
            topic_name=topic_name, name=name, attributes=NOWHERE, created=0, modified=0, ended=True
        )

    def _account(self, saved: dict[str, Any]) -> None:
        it = self._emulator
        it.begin_again(starts=saved["starts"])
        it.mns.logging_bucket = saved["logging_bucket"]
        it.mns_open.account.attributes = self._decoded(saved["attributes"])
        it.mns_open.endpoints.enabled = saved["endpoint_enabled"]
        it.mns_open.endpoints.admitted = self._decoded(saved["admitted"])
        it.mns_open.event_rules.rules = self._decoded(saved["event_rules"])

    def _pipelines(self) -> None:
        """Those from the start are changed in place, since others know them."""
        pipelines = self._emulator.engine.pipelines
        for name in pipelines.keys() - self._found["pipeline"].keys():
            del pipelines[name]
        for name, saved in sorted(self._found["pipeline"].items(), key=lambda item: str(item[1]["created"])):
            pipeline = pipelines.setdefault(name, Pipeline(id=name, name=""))
            for field, value in self._fields(saved).items():
                setattr(pipeline, field, value)
        for name, saved in self._found["workflow"].items():
            self._emulator.mps.workflows.by_id[name] = self._decoded(saved)

    def _queues(self) -> None:
        for name, saved in self._found["queue"].items():
            values = self._fields(saved)
            queue = self._emulator.mns.create(name, values.pop("attributes"), features=values.pop("features"))
            messages = [self._fields(value) for value in self._found[kind_of_messages(name)].values()]
            queue.restore(values, sorted(messages, key=lambda message: int(message["order"])))

    def _topics(self) -> None:
        topics = self._emulator.mns.topics.by_name
        for name, saved in self._found["topic"].items():
            topics[name] = Topic(**self._fields(saved))
        for saved in self._found["subscription"].values():
            subscription = Subscription(**self._fields(saved))
            topics[subscription.topic_name].subscriptions[subscription.name] = subscription

    def _jobs(self) -> None:
        """The parts of a workflow's job come after it, by their numbers."""
        engine = self._emulator.engine
        for saved in sorted(self._found["job"].values(), key=lambda job: -int(job["number"])):
            engine.jobs[saved["id"]] = EmulatedJob(**self._fields(saved))
        engine.jobs = dict(reversed(engine.jobs.items()))
        for job in engine.jobs.values():
            if job.over or (job.started and not job.due):  # the part of another
                continue
            if job.started:
                heapq.heappush(engine.running, (job.due, job.number, job))
            else:
                job.pipeline.waiting.append(job)

    def _pending(self) -> None:
        it = self._emulator
        for _, saved in sorted(self._found["callback"].items()):
            it.sender.deliveries.resume(self._decoded(saved))
        for _, saved in sorted(self._found["late push"].items()):
            it.notifier.deliveries.resume(self._decoded(saved))
        for _, saved in sorted(self._found["push"].items()):
            it.notifier.resume(self._decoded(saved))
