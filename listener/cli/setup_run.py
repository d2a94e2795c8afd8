"""The steps of ``mns-listener setup`` in their order: what can be refused is refused before anything is changed."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from listener.aliyun.credentials import credentials
from listener.aliyun.mns_admin import MnsQueueAdmin
from listener.aliyun.mps_client import MpsClient
from listener.aliyun.mps_pipelines import Pipelines
from listener.core.account import Pipeline
from listener.core.errors import ListenerError, SettingsError, UsageError
from listener.settings import loader
from listener.settings.sections import CredentialsSettings, MpsSettings, Settings
from listener.setup import plan, round_trip, steps
from listener.setup.location import Location
from listener.setup.plan import Action, PipelinePlan, QueuePlan
from listener.setup.settings_file import settings_text
from listener.setup.steps import Status, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRequest:
    """What the command line asks for."""

    location: Location
    tenant: str
    source: Path | None  #: the settings file that was read
    settings: Settings | None  #: those in it
    pipeline: str  #: the id or name of an existing one
    new_pipeline: str  #: the name of one to create
    fix: bool
    rebind: bool
    force: bool
    dry_run: bool
    test_message: bool | None  #: None: only for a queue that is created
    write: Path | None  #: the settings file to write; None: the one that was read is enough


class SetupRun:
    """One run. ``steps`` grows as they are done, so that it can be shown after an error as well."""

    def __init__(self, request: SetupRequest, *, ask: Callable[[str], bool]) -> None:
        """``ask`` puts a question to the user; False where no question can be asked."""
        self.steps: list[Step] = []
        self.pipeline: Pipeline | None = None
        self._request = request
        self._ask = ask
        self._keys = (
            request.settings.tenant(request.tenant).credentials if request.settings else CredentialsSettings()
        )
        self.settings = self._settings_of_daemon()

    def carry_out(self) -> None:
        request, where = self._request, self._request.location
        keys = credentials(self._keys)
        queue = MnsQueueAdmin(
            endpoint=where.mns_endpoint, queue=where.queue, name=where.queue, credentials=keys
        )
        pipelines = Pipelines(MpsClient(MpsSettings(region=where.region, endpoint=where.mps_endpoint), keys))
        with closing(queue):
            queue_plan = self._agreed_queue(plan.plan_queue(queue.attributes(), fix=request.fix))
            pipeline_plan = self._pipeline_plan(pipelines)
            self.steps.append(steps.set_up_queue(queue_plan, queue, dry_run=request.dry_run))
            self._set_up_pipeline(pipeline_plan, pipelines)
            self.steps.append(self._write_settings())
            self._send_test_message(queue, is_new=queue_plan.action is Action.CREATE)

    # What is decided before anything is changed

    def _settings_of_daemon(self) -> Settings:
        """Those of the file that stays, or of the one that will be written. Raises SettingsError."""
        path = self._request.write
        if path is None and self._request.settings:
            return self._request.settings
        if path is not None and path.exists() and not self._request.force:
            return loader.settings_from(path)
        folder = path.absolute().parent if path is not None else None
        if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise SettingsError(
                f"--write: {str(path)!r} cannot be written, since {str(folder)!r} is not a folder that this user can "
                "write to; use another one"
            )
        return loader.load(self._text(), {}, source=str(path))

    def _agreed_queue(self, planned: QueuePlan) -> QueuePlan:
        if planned.action is not Action.LEAVE or not self._ask(
            f"The queue {self._request.location.queue} differs from what is recommended: "
            f"{'; '.join(map(str, planned.differences))}. Change it?"
        ):
            return planned
        return QueuePlan(action=Action.CHANGE, differences=planned.differences)

    def _pipeline_plan(self, pipelines: Pipelines) -> PipelinePlan | None:
        request, queue = self._request, self._request.location.queue
        if request.pipeline:
            found: Pipeline | None = plan.existing_pipeline(pipelines, request.pipeline)
        elif request.new_pipeline:
            found = plan.pipeline_named(pipelines, request.new_pipeline, queue=queue)
        else:
            return None
        planned = plan.plan_pipeline(found, name=request.new_pipeline, queue=queue, rebind=request.rebind)
        return self._agreed_pipeline(planned)

    def _agreed_pipeline(self, planned: PipelinePlan) -> PipelinePlan:
        if planned.action is not Action.LEAVE or planned.found is None:
            return planned
        queue, now = self._request.location.queue, steps.destination(planned.found)
        what = f"the pipeline {planned.name} ({planned.found.id}) sends its callbacks to {now}"
        if not self._ask(
            f"{what[0].upper()}{what[1:]}, which would get no more. Send them to {queue} instead?"
        ):
            raise UsageError(
                f"{what}, which would get no more; use --rebind to send them to the queue {queue}, or another "
                "pipeline; nothing was changed"
            )
        return PipelinePlan(action=Action.CHANGE, name=planned.name, found=planned.found)

    # The steps

    def _set_up_pipeline(self, planned: PipelinePlan | None, pipelines: Pipelines) -> None:
        if planned is None:
            detail = "none was named; smart-production jobs need none, since their NotifyUrl names the queue"
            self.steps.append(Step(name="pipeline", status=Status.SKIPPED, detail=detail))
            return
        self.pipeline, step = steps.set_up_pipeline(
            planned, pipelines, queue=self._request.location.queue, dry_run=self._request.dry_run
        )
        self.steps.append(step)

    def _text(self) -> str:
        request = self._request
        return settings_text(request.location, tenant=request.tenant, pipeline=self.pipeline, keys=self._keys)

    def _write_settings(self) -> Step:
        path, text = self._request.write, self._text()
        if path is None:
            missing = self._not_consumed()
            status, detail = (
                (Status.DIFFERS, missing) if missing else (Status.UNCHANGED, "it consumes this queue")
            )
            return Step(name=f"settings file {self._request.source}", status=status, detail=detail)
        if not path.exists():
            action, detail = Action.CREATE, "one queue and one route, which writes every outcome to the log"
        elif path.read_text(encoding="utf-8") == text:
            action, detail = Action.KEEP, "it is as this command would write it"
        elif self._request.force:
            action, detail = Action.CHANGE, "replaced, because of --force"
        else:
            action = Action.LEAVE
            detail = self._not_consumed() or "it exists already, and is not as this command would write it"
        if action in (Action.CREATE, Action.CHANGE) and not self._request.dry_run:
            _write_whole(path, text, replace=action is Action.CHANGE)
        status = steps.status_of(action, dry_run=self._request.dry_run)
        return Step(name=f"settings file {path}", status=status, detail=detail)

    def _send_test_message(self, queue: MnsQueueAdmin, *, is_new: bool) -> None:
        wanted, where = self._request.test_message, self._request.location
        if not (is_new if wanted is None else wanted):
            detail = (
                "the queue was there before, and other consumers may use it; send one with --test-message"
            )
            step = Step(name="test message", status=Status.SKIPPED, detail="" if wanted is False else detail)
        elif self._request.dry_run:
            step = Step(
                name="test message", status=Status.TO_SEND, detail=f"to {where.queue}, and delete it again"
            )
        else:
            trip = round_trip.round_trip(queue, secrets.token_hex(8))
            rule = round_trip.route_of_a_success(self.settings.rules(), self._label())
            step = steps.trip_step(trip, rule, where.queue)
        self.steps.append(step)

    def _not_consumed(self) -> str:
        """What is missing in settings that were there before, so that the daemon receives from the queue."""
        where = self._request.location
        queues = ((each.endpoint.rstrip("/"), each.queue) for each in self.settings.queues)
        if (where.mns_endpoint.rstrip("/"), where.queue) in queues:
            return ""
        endpoint = "" if where.has_public_endpoint else f" and endpoint = {where.mns_endpoint!r}"
        return (
            f"it does not consume this queue: add [[queues]] with url = {where.notify_url!r}{endpoint}, or replace the "
            "file with --force"
        )

    def _label(self) -> str:
        """The name that routes know the queue by."""
        where = self._request.location
        named = (each.label for each in self.settings.queues if each.queue == where.queue)
        return next(named, where.queue)


def _write_whole(path: Path, text: str, *, replace: bool) -> None:
    """The file has all of the text or is not there, also after Ctrl-C. A file that appeared meanwhile stays."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o666 & ~_umask())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    except FileExistsError as error:
        raise ListenerError(
            f"{path} was created meanwhile, and stays as it is; replace it with --force"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
