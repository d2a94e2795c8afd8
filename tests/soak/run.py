"""Runs a plan: a real emulator, real listener processes, real faults, real kills. Comes back with the evidence."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from listener.aliyun.credentials import AccessKey, Credentials
from listener.aliyun.mps_client import MpsClient
from listener.core import clock
from listener.core.errors import ListenerError
from listener.emulator import Emulator, Options
from listener.emulator.mns.queue import Attributes, Draft, body_md5, draft
from listener.emulator.server import RunningEmulator, running
from listener.jobs import submission
from listener.jobs.request import JobRequest
from listener.settings.sections import MpsSettings
from listener.store.rows import values_of_job
from listener.store.sql_store import SqlStore
from listener.store.tables import jobs
from tests.soak.blows import strike
from tests.soak.evidence import Evidence, calls_in, given_back_in
from tests.soak.ledger import reference
from tests.soak.listener_with import CLOCK_OFFSET
from tests.soak.plan import (
    CORRELATION_WAIT,
    DOOMED_ATTEMPTS,
    LEASE,
    MAX_ATTEMPTS,
    POISONS,
    QUEUES,
    SHUTDOWN_TIMEOUT,
    TARGETS,
    WEBHOOK_TIMEOUT,
    Item,
    Plan,
    Post,
)
from tests.soak.processes import TIMEOUT, ListenerProcesses
from tests.soak.stores import store_of
from tests.soak.webhook_receiver import WebhookReceiver
from tests.support.builders import a_job

VISIBILITY_SECONDS = 2
POLL_INTERVAL = 0.05
#: Leases that are longer would outlast the time-outs of a run.
MAX_SLOWNESS = 6.0
#: Of every job; only a clock that jumps comes past it.
DEADLINE = timedelta(hours=6)
#: The file with the offset of the listeners' clock.
CLOCK = "clock"

SETTINGS = """\
[store]
url = "{url}"
shared = true
[dispatch]
concurrency = 8
lease = "{lease}s"
handler_timeout = "30s"
[retry]
max_attempts = {attempts}
initial_backoff = "0.1s"
max_backoff = "0.4s"
[correlation]
unknown = "{unknown}"
wait = "{correlation_wait}s"
[service]
shutdown_timeout = "{shutdown_timeout}s"
[http]
listen = ""
[reconcile]
interval = "0.5s"
[log]
format = "json"
"""
QUEUE = """\
[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"
wait = "1s"
"""
ROUTE = """\
[[routes]]
name = "{name}"
match = {{ route = "{name}" }}
handlers = [{handlers}]
"""
HANDLER = '{{ use = "python", name = "{name}", callable = "tests.soak.recorder:{name}" }}'
HOOK = '{{ use = "webhook", name = "hook", url = "{url}", timeout = "{timeout}s" }}'
DOOMED = f'retry = {{ max_attempts = {DOOMED_ATTEMPTS}, initial_backoff = "0.1s", max_backoff = "0.2s" }}\n'


def settings(
    plan: Plan, *, url: str, endpoint: str, hook: str, variant: int = 0, slowness: float = 1.0
) -> str:
    """The listener's settings, as a user would write them. Of two variants, only the webhook's time limit differs."""
    text = SETTINGS.format(
        url=url,
        lease=LEASE * slowness,
        attempts=MAX_ATTEMPTS,
        unknown=plan.unknown,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        correlation_wait=CORRELATION_WAIT,
    )
    text += "".join(QUEUE.format(endpoint=endpoint, queue=queue) for queue in QUEUES)
    routes = {name: handlers for name, handlers in TARGETS.items() if handlers}
    webhook = HOOK.format(url=hook, timeout=WEBHOOK_TIMEOUT + variant / 1000)
    return text + "".join(_route(name, handlers, webhook) for name, handlers in routes.items())


def _route(name: str, handlers: Sequence[str], webhook: str) -> str:
    listed = ", ".join(webhook if name == "hook" else HANDLER.format(name=name) for name in handlers)
    return ROUTE.format(name=name, handlers=listed) + (DOOMED if name == "doomed" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    evidence: Evidence
    happened: Mapping[str, int]  #: how often each kind of fault, and of blow, really took place
    seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Things to do at their moments, in seconds from the call of ``execute``."""

    moments: Sequence[tuple[float, Callable[[], None]]]

    def execute(self) -> None:
        begun, pause = time.monotonic(), threading.Event()
        for moment, act in sorted(self.moments, key=lambda entry: entry[0]):
            pause.wait(max(0.0, begun + moment - time.monotonic()))
            act()


class Run:
    """One run on one folder."""

    def __init__(
        self, plan: Plan, folder: Path, server: RunningEmulator, *, entry: Sequence[str], slowness: float
    ) -> None:
        for name in ("evidence", "effects", "raised"):
            (folder / name).mkdir(parents=True)
        self.plan, self.folder, self.server = plan, folder, server
        self.under = store_of(plan.store, folder)
        self.receiver = WebhookReceiver(folder, slowness=slowness)
        self.processes = ListenerProcesses(folder, entry=entry)
        #: Held by whoever uses the store of this run, and by a blow that takes it away.
        self.store_in_use = threading.Lock()
        self._slowness = slowness
        self._store: SqlStore | None = None
        self._registered: dict[int, int] = {}
        self.write_settings()
        self.shift_clock(days=0.0)
        self._mps = MpsClient(MpsSettings(endpoint=server.url), Credentials(_key))

    @property
    def store(self) -> SqlStore:
        """Opened when it is first needed, so that a listener may be the one that creates it."""
        self._store = self._store or SqlStore.open(self.under.url)
        return self._store

    def close_store(self) -> None:
        """The next one who uses it opens it again."""
        if self._store:
            self._store.close()
            self._store = None

    def close(self) -> None:
        self.processes.abandon()
        self.close_store()

    def write_settings(self, variant: int = 0) -> None:
        """In one step, since a process may be reading them."""
        text = settings(
            self.plan,
            url=self.under.url,
            endpoint=self.server.url,
            hook=self.receiver.url,
            variant=variant,
            slowness=self._slowness,
        )
        (self.folder / "new.toml").write_text(text)
        (self.folder / "new.toml").replace(self.folder / "listener.toml")

    def shift_clock(self, *, days: float) -> None:
        """Of all processes that were started with this file as their clock."""
        with (self.folder / CLOCK).open("r+b" if (self.folder / CLOCK).exists() else "wb") as file:
            file.write(CLOCK_OFFSET.pack(days * 86_400))

    def prepare(self) -> None:
        """The queues, and every job that is known before anything begins."""
        for queue in QUEUES:
            self.server.call(partial(_create, name=queue))
        known = [item for item in self.plan.items if item.job_id and item.known_at == 0.0]
        if known:
            with self.store.database.write() as connection:
                connection.execute(jobs.insert(), [values_of_job(_job(item)) for item in known])

    def post_all(self) -> None:
        """Every callback of the plan, at once."""
        for item in self.plan.items:
            for post in item.posts:
                self._post(post)

    def execute(self) -> None:
        """Everything of the plan that has a moment, while listeners run."""
        for slot in range(self.plan.processes):
            self.processes.start(slot)
        self.await_start()
        self._set_faults()
        # Each on a thread of its own, since a blow or a locked store must not hold up the others.
        parts = (
            self._submit_all,
            self._posts().execute,
            self._introductions().execute,
            self._blows().execute,
        )
        with ThreadPoolExecutor(len(parts)) as pool:
            for part in [pool.submit(part) for part in parts]:
                part.result()

    def await_start(self) -> None:
        self._wait("the listeners did not start", self.processes.all_started)

    def settle(self) -> Mapping[str, int]:
        """No more faults: let everything come to its end, in the processes that run or in one that drains.

        Returns how often each fault happened.
        """
        self._wait("callbacks are still on their way", lambda: self.server.call(_all_called_back))
        happened = self.server.call(_happened)
        httpx.delete(f"{self.server.url}/_emulator/faults", trust_env=False)
        if self.processes.at_work:
            self._wait("there is no end of work", self._all_done)
            self.processes.dismiss()
        else:
            self._wait("messages stay hidden", lambda: self.server.call(_none_hidden))
            self.processes.drain()
        return happened

    def _all_done(self) -> bool:
        return not self.server.call(_left) and not self.store.outstanding()

    def evidence(self) -> Evidence:
        return Evidence(
            calls=calls_in(self.folder / "evidence"),
            endings=self.processes.endings,
            rows=self.under.rows(),
            effects=len(list((self.folder / "effects").iterdir())),
            left_in_queues=self.server.call(_left),
            registered=self._registered,
            given_back=given_back_in(self.folder),
            slowness=self._slowness,
            troubles=self.processes.troubles,
        )

    def _posts(self) -> Timeline:
        posts = [post for item in self.plan.items for post in item.posts]
        return Timeline([(post.at, partial(self._post, post)) for post in posts])

    def _introductions(self) -> Timeline:
        late = [(item.known_at, partial(self._get_known, item)) for item in self.plan.items if item.job_id]
        return Timeline([(at, act) for at, act in late if at])

    def _blows(self) -> Timeline:
        return Timeline([(blow.at, partial(strike, self, blow)) for blow in self.plan.blows])

    def _post(self, post: Post) -> None:
        sent = Draft(body=post.body, md5=body_md5(post.body)) if post.raw else draft(post.body)
        self.server.call(lambda emulator: emulator.mns.queues[post.queue].send([sent]))

    def _get_known(self, item: Item) -> None:
        """As a submitter does it: the intent first, the id when the call has been answered."""
        with self.store_in_use:
            self.store.add_job(_job(item, known=False))
            self.store.bind_job(_token(item), item.job_id, clock.now())
        self._registered[item.n] = round(time.time() * 1_000_000)

    def _set_faults(self) -> None:
        answer = httpx.post(
            f"{self.server.url}/_emulator/faults", content=json.dumps(self.plan.faults), trust_env=False
        )
        answer.raise_for_status()

    def _submit_all(self) -> None:
        for item in self.plan.items:
            if item.function:
                self._submit(item)

    def _submit(self, item: Item) -> None:
        request = JobRequest(
            function=item.function,
            input="oss://in-bucket.oss-cn-shanghai.aliyuncs.com/talk.mp4",
            output="oss://out-bucket.oss-cn-shanghai.aliyuncs.com/talk.mp4",
            notify_url=f"mns://1.mns.cn-shanghai.aliyuncs.com/queues/{QUEUES[item.n % 2]}",
            user_data=item.user_data,
            reference=reference(item),
        )
        try:
            with self.store_in_use:
                submission.submit(request, store=self.store, mps=self._mps, deadline=DEADLINE)
        except ListenerError as error:
            if item.function not in ("SoakReplyLost", "SoakRefused"):
                self.processes.troubles.append(f"{item.n} ({item.way}) could not be submitted: {error}")

    def _wait(self, otherwise: str, condition: Callable[[], bool]) -> None:
        deadline, pause = time.monotonic() + TIMEOUT, threading.Event()
        while not condition():
            if time.monotonic() > deadline:
                self.processes.troubles.append(otherwise)
                return
            pause.wait(POLL_INTERVAL)


@contextmanager
def started(plan: Plan, folder: Path, *, entry: Sequence[str] = ()) -> Iterator[Run]:
    """A run with its emulator; whatever happens, no process outlives it."""
    options = Options(seed=plan.seed, job_seconds=0.2, concurrency=1000, calls_per_second=0)
    with running(options) as server:
        # A plan that needs a special listener may need its short leases, too.
        slowness = 1.0 if entry else _slowness()
        run = Run(plan, folder, server, entry=entry or _entry(plan, folder), slowness=slowness)
        try:
            run.prepare()
            with run.receiver.serving():
                yield run
        finally:
            run.close()


def _slowness() -> float:
    """How much more there is to run on this machine than it has processors. On a busy one, a process may not run for
    several seconds, so that a short lease expires although nothing was done to the process."""
    return min(max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), MAX_SLOWNESS)


def _entry(plan: Plan, folder: Path) -> Sequence[str]:
    """The listener as it is, unless its clock is to jump."""
    if plan.clock_jumps:
        return ("tests.soak.listener_with", "--clock", str(folder / CLOCK))
    return ("listener",)


def run_plan(plan: Plan, folder: Path, *, entry: Sequence[str] = ()) -> RunResult:
    """Run a plan from its beginning to its end."""
    begun = time.monotonic()
    with started(plan, folder, entry=entry) as run:
        run.execute()
        happened = Counter(run.settle()) + run.processes.happened + run.receiver.happened
        happened += Counter(item.way for item in plan.items if item.way in POISONS)
        evidence = run.evidence()
    return RunResult(evidence=evidence, happened=happened, seconds=time.monotonic() - begun)


def crash(plan: Plan, folder: Path, *, entry: Sequence[str]) -> RunResult:
    """Let one process come to the point at which it kills itself, then let another one finish."""
    begun = time.monotonic()
    with started(plan, folder, entry=entry) as run:
        run.post_all()
        run.processes.start(0)
        run.processes.await_crash(0)
        run.settle()
        evidence = run.evidence()
    return RunResult(evidence=evidence, happened=run.processes.happened, seconds=time.monotonic() - begun)


def _key() -> AccessKey:
    return AccessKey("testKeyId", "testKeySecret")


def _token(item: Item) -> str:
    return f"soak{item.n:018d}"


def _job(item: Item, *, known: bool = True) -> Any:
    now = clock.now()
    given = {"created_at": now, "deadline_at": now + DEADLINE, "user_data": item.user_data}
    state: dict[str, Any] = {} if known else {"state": "intent", "submitted_at": None}
    return a_job(token=_token(item), job_id=item.job_id if known else "", **given, **state)


def _happened(emulator: Emulator) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for entry in emulator.faults.report():
        counts[str(entry["kind"])] += entry["happened"]
    return counts


def _create(emulator: Emulator, *, name: str) -> None:
    emulator.mns.create(name, Attributes(visibility_timeout=VISIBILITY_SECONDS))


def _all_called_back(emulator: Emulator) -> bool:
    """No job is under way, and no callback waits for its moment."""
    jobs_over = all(job.over for job in emulator.engine.jobs.values())
    return jobs_over and not emulator.sender.deliveries.waiting


def _none_hidden(emulator: Emulator) -> bool:
    counts = [queue.counts() for queue in emulator.mns.queues.values()]
    return not any(count["inactive"] + count["delayed"] for count in counts)


def _left(emulator: Emulator) -> int:
    return sum(sum(queue.counts().values()) for queue in emulator.mns.queues.values())
