"""An end-to-end run on one machine: a real emulator, the official SDKs, a real daemon, and a check of the results.

Jobs are submitted as a user would submit them. Some callbacks have the faults that occur in production: they are
sent twice, before the submitter knows the job id, wrapped by a topic, or late; and two messages are garbage.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from listener.aliyun.credentials import KEY_ID, KEY_SECRET, AccessKey, Credentials
from listener.aliyun.mns_admin import MnsQueueAdmin
from listener.aliyun.mps_client import MpsClient
from listener.aliyun.mps_pipelines import Pipelines
from listener.core import clock
from listener.core.errors import ListenerError
from listener.core.model import FAIL, SUCCESS, Job, Submitted
from listener.emulator.mps.sample_results import FUNCTION_NAMES
from listener.emulator.options import DEFAULT_PIPELINE_ID, Options
from listener.emulator.server import running
from listener.formats import user_data
from listener.formats.wrapping import as_base64, wrapped
from listener.jobs import submission
from listener.jobs.functions import FUNCTIONS
from listener.jobs.request import JobRequest, compose_user_data
from listener.settings.sections import MpsSettings
from listener.store.queries import Queries
from listener.store.sql_store import SqlStore

QUEUE = "mps-callbacks"
BUCKET = "oss://demo.oss-cn-shanghai.aliyuncs.com"
GARBAGE = ("this is no callback", as_base64('{"Type": "IProduction", "JobId":'))
#: Maximum duration of the demo, in seconds.
DEMO_TIMEOUT = 120.0
POLL_INTERVAL = 0.1

_FOREIGN = (
    "MNS_LISTENER_",
    "ALIBABA_CLOUD_ACCESS_KEY",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
)

CAPTIONS, COVERS, FAILURES, REST = "captions", "covers", "failures", "everything-else"
ROUTE_OF = {
    "CaptionExtraction": CAPTIONS,
    "ASR": CAPTIONS,
    "VideoDetext": CAPTIONS,
    "Cover": COVERS,
    "ImageCartoonize": COVERS,
    "ImageMatting": COVERS,
}

SETTINGS = """\
[store]
url = {store}

[correlation]
wait = "2s"

[http]
listen = ""

[log]
format = "json"

[mps]
endpoint = "{endpoint}"

[[queues]]
endpoint = "{endpoint}"
queue = "{queue}"

[[routes]]
name = "failures"
match = {{ state = "Fail" }}
handlers = [{{ use = "jsonl", path = {failures} }}]

[[routes]]
name = "captions"
match = {{ route = "captions" }}
handlers = [{{ use = "jsonl", path = {captions} }}]

[[routes]]
name = "covers"
match = {{ route = "covers" }}
handlers = [{{ use = "jsonl", path = {covers} }}]

[[routes]]
name = "everything-else"
handlers = [{{ use = "jsonl", path = {everything_else} }}]
"""


#: Called with (what, done, total).
ReportProgress = Callable[[str, int, int], None]


class DemoFailed(ListenerError):
    """The demo could not be completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoJob:
    """One job of the demo: what is submitted, the fault of its callback, and the expected route."""

    number: int
    function: str
    fault: str = ""  #: duplicate, early, topic, late
    fails: bool = False

    @property
    def wanted_route(self) -> str:
        return FAILURES if self.fails else ROUTE_OF.get(self.function, REST)

    @property
    def wanted_state(self) -> str:
        return FAIL if self.fails else SUCCESS

    @property
    def user_data(self) -> str | None:
        route = ROUTE_OF.get(self.function)
        data = f"demo {self.number}" if self.number % 2 else json.dumps({"demo": self.number})
        return compose_user_data(route, data) if route else (data if self.number % 3 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """The outcome of one job, according to the files that the handlers wrote."""

    demo_job: DemoJob
    job: Job
    deliveries: Sequence[dict[str, Any]]  #: lines that handlers wrote for it

    @property
    def correct(self) -> bool:
        """One outcome at the right handler, with the outputs of a success."""
        outcomes = [(line["route"], line["state"]) for line in self.deliveries]
        wanted = (self.demo_job.wanted_route, self.demo_job.wanted_state)
        return outcomes == [wanted] and (self.demo_job.fails or self.outputs is not None)

    @property
    def outputs(self) -> dict[str, Any] | None:
        """The outputs that the handler got, if the job succeeded."""
        return next((line["outputs"] for line in self.deliveries if line["state"] == SUCCESS), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    job_reports: Sequence[JobReport]
    counts: dict[str, float]

    @property
    def correct(self) -> bool:
        return all(job_report.correct for job_report in self.job_reports) and self.counts[
            "quarantined"
        ] == len(GARBAGE)


def make_jobs(jobs: int | None) -> list[DemoJob]:
    """The jobs to submit: one of each function and a failing one, or ``jobs`` of them, cycling."""
    names = FUNCTION_NAMES
    total = len(names) + 1 if jobs is None else jobs
    faults = ("duplicate", "early", "topic", "late")
    return [
        DemoJob(
            number=number,
            function=names[number % len(names)],
            fault=faults[number] if number < len(faults) else "",
            fails=jobs is None and number == total - 1,
        )
        for number in range(total)
    ]


def run_demo(demo_jobs: Sequence[DemoJob], *, folder: Path, report_progress: ReportProgress) -> DemoReport:
    """Run the demo in ``folder``; ``report_progress`` is called with (what, done, total). Raises DemoFailed."""
    started = time.monotonic()
    # As many concurrent jobs as MPS runs by default; the more jobs, the shorter each one.
    options = Options(job_seconds=min(0.5, 60 / max(len(demo_jobs), 1)), calls_per_second=100)
    with running(options) as emulator, closing(Sandbox.built(folder, emulator.url, options)) as sandbox:
        with sandbox.daemon() as check:
            submitted = sandbox.submit_all(demo_jobs, report_progress, check)
            sandbox.add_faults(submitted)
            sandbox.wait(len(demo_jobs), report_progress, check)
        return sandbox.report(submitted, time.monotonic() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The emulator, queue, pipeline and store of one demo run."""

    folder: Path
    store: SqlStore
    queue: MnsQueueAdmin
    mps: MpsClient
    pipeline: str
    environment: dict[str, str]

    @classmethod
    def built(cls, folder: Path, url: str, options: Options) -> Sandbox:
        key = AccessKey(options.access_key_id, options.access_key_secret)
        keys = Credentials(lambda: key)
        queue = MnsQueueAdmin(endpoint=url, queue=QUEUE, name=QUEUE, credentials=keys)
        queue.create({})
        (folder / "listener.toml").write_text(_settings(folder, url), encoding="utf-8")
        mps = MpsClient(MpsSettings(endpoint=url), keys)
        return cls(
            folder=folder,
            store=SqlStore.open(f"sqlite:///{folder}/listener.db"),
            queue=queue,
            mps=mps,
            pipeline=Pipelines(mps).add(f"demo-{secrets.token_hex(4)}", queue=QUEUE).id,
            environment=_environment() | {KEY_ID: key.id, KEY_SECRET: key.secret},
        )

    def close(self) -> None:
        self.store.close()
        self.queue.close()

    @contextmanager
    def daemon(self) -> Iterator[Callable[[], None]]:
        """The real daemon in its own process; yields a function that raises DemoFailed if the daemon has exited."""
        command = [sys.executable, "-m", "listener", "run", "-c", str(self.folder / "listener.toml")]
        with (self.folder / "listener.log").open("wb") as log:
            process = subprocess.Popen(command, env=self.environment, stderr=log)  # noqa: S603 - our own program
            try:
                yield lambda: self._check(process)
                self._check(process)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()
        self._check(process)

    def _check(self, process: subprocess.Popen[bytes]) -> None:
        """Raises DemoFailed if the daemon has exited unexpectedly."""
        if process.poll():
            last = (self.folder / "listener.log").read_text(encoding="utf-8").splitlines()[-3:]
            raise DemoFailed("\n".join([f"the daemon exited with status {process.returncode}:", *last]))

    def submit_all(
        self, demo_jobs: Sequence[DemoJob], report_progress: ReportProgress, check: Callable[[], None]
    ) -> list[tuple[DemoJob, Job]]:
        """Submit all jobs, a few concurrently, as the command line does."""
        submitted: list[tuple[DemoJob, Job]] = []
        with ThreadPoolExecutor(4) as pool:
            jobs = pool.map(lambda demo_job: self._submit_one(demo_job, check), demo_jobs)
            for demo_job, job in zip(demo_jobs, jobs, strict=True):
                submitted.append((demo_job, job))
                report_progress("submitted", len(submitted), len(demo_jobs))
        return submitted

    def _submit_one(self, demo_job: DemoJob, check: Callable[[], None]) -> Job:
        request = self._request(demo_job)
        if demo_job.fault != "early":
            return submission.submit(request, store=self.store, mps=self.mps)
        return submission.submit(request, store=self.store, mps=_DelayedReply(self, check))

    def _request(self, demo_job: DemoJob) -> JobRequest:
        function = FUNCTIONS[demo_job.function]
        # The demo sends topic-wrapped and late callbacks itself; the default pipeline sends none.
        own_callback = demo_job.fault in ("topic", "late")
        name = f"{'fail' if demo_job.fails else 'talk'}-{demo_job.number}"
        return JobRequest(
            function=demo_job.function,
            input=f"{BUCKET}/in/{name}.mp4",
            output=f"{BUCKET}/out/{{source}}{function.placeholder}{function.suffix}"
            if function.suffix
            else "",
            params=json.dumps(function.example),
            pipeline=DEFAULT_PIPELINE_ID if own_callback else self.pipeline,
            user_data=demo_job.user_data,
        )

    def add_faults(self, submitted: Sequence[tuple[DemoJob, Job]]) -> None:
        """Inject the faults of real deployments: garbage, duplicates, topic wrappers, delays."""
        for text in GARBAGE:
            self.queue.send(text)
        for demo_job, job in submitted:
            if demo_job.fault == "duplicate":
                self.queue.send(as_base64(callback_of(job)), delay=timedelta(seconds=1))
            elif demo_job.fault == "topic":
                self.queue.send(wrapped(callback_of(job), "topic-xml", at=clock.now()))
            elif demo_job.fault == "late":
                self.queue.send(as_base64(callback_of(job)), delay=timedelta(seconds=2))

    def wait(self, total: int, report_progress: ReportProgress, check: Callable[[], None]) -> None:
        """Wait until nothing is outstanding and every fault has had its effect."""
        deadline = time.monotonic() + DEMO_TIMEOUT
        while time.monotonic() < deadline:
            check()
            counts = Queries(self.store.database).counts()
            report_progress("handled", min(counts["deliveries"].get("done", 0), total), total)
            if self._settled(counts, total):
                return
            time.sleep(POLL_INTERVAL)  # polling: the daemon is another process

    def _settled(self, counts: dict[str, dict[str, int]], total: int) -> bool:
        expected = min(total, 1)  # one duplicate, if there was a job to duplicate
        return (
            sum(counts["deliveries"].get(state, 0) for state in ("done", "dead")) >= total
            and counts["quarantine"]["messages"] >= len(GARBAGE)
            and counts["copies"]["duplicates"] >= expected
        )

    def report(self, submitted: Sequence[tuple[DemoJob, Job]], seconds: float) -> DemoReport:
        lines = self._evidence()
        job_reports = [
            JobReport(
                demo_job=demo_job,
                job=job,
                deliveries=[line for line in lines if line["job_id"] == job.job_id],
            )
            for demo_job, job in submitted
        ]
        counts = Queries(self.store.database).counts()
        return DemoReport(
            job_reports=job_reports,
            counts={
                "submitted": len(submitted),
                "results": sum(counts["results"].values()),
                "handled": counts["deliveries"].get("done", 0),
                "duplicates": counts["copies"]["duplicates"],
                "quarantined": counts["quarantine"]["messages"],
                "dead": counts["deliveries"].get("dead", 0),
                "outputs": sum(1 for job_report in job_reports if job_report.outputs),
                "lost": sum(1 for job_report in job_reports if not job_report.deliveries),
                "seconds": round(seconds, 2),
            },
        )

    def _evidence(self) -> list[dict[str, Any]]:
        """The lines that handlers wrote to their files."""
        return [
            json.loads(line)
            for path in sorted(self.folder.glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]


@dataclass(frozen=True, slots=True)
class _DelayedReply:
    """MPS whose reply arrives only after the callback was handled, so the submitter does not know the job id yet."""

    sandbox: Sandbox
    check: Callable[[], None]

    def submit(
        self, job: Job, *, user_data: str | None, on_turn: Callable[[], None] | None = None
    ) -> Submitted:
        submitted = self.sandbox.mps.submit(job, user_data=user_data, on_turn=on_turn)
        job_id = submitted.job_id
        deadline = time.monotonic() + DEMO_TIMEOUT / 4
        queries = Queries(self.sandbox.store.database)
        while time.monotonic() < deadline:
            self.check()
            history = queries.history(job_id)
            if history and history.results:
                return submitted
            time.sleep(POLL_INTERVAL)  # the daemon is another process
        raise DemoFailed(
            f"timed out waiting for the callback of job {job_id}: none within {DEMO_TIMEOUT / 4:.0f} s"
        )


def _settings(folder: Path, url: str) -> str:
    """Paths are rendered as JSON strings, which are valid TOML strings, since a folder may have any name."""
    files = {
        route.replace("-", "_"): json.dumps(f"{folder}/{route}.jsonl")
        for route in (CAPTIONS, COVERS, FAILURES, REST)
    }
    return SETTINGS.format(
        store=json.dumps(f"sqlite:///{folder}/listener.db"), endpoint=url, queue=QUEUE, **files
    )


def _environment() -> dict[str, str]:
    """The environment without settings, keys and supervisor variables that would redirect the daemon."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def callback_of(job: Job) -> str:
    """The callback that MPS sends for a successful job."""
    return json.dumps(
        {
            "Code": "Success",
            "Details": [],
            "FunctionName": job.function,
            "JobId": job.job_id,
            "Message": "success",
            "State": "Success",
            "Type": "IProduction",
            "UserData": user_data.embed_token(job.user_data, job.token),
        }
    )
