"""Submits jobs so that none is ever lost: the intent is written first, then the call is made, then the id is kept.

Our token rides in the job's user data. If the reply is lost, or this process ends between call and reply, the
callback brings the token back, and with it the job id.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, replace
from difflib import get_close_matches

import tenacity

from listener import clock, jsontext, user_data
from listener.config import split_queue_url
from listener.errors import Fault, MpsRejected, MpsUnavailable, SettingsError, UsageError
from listener.functions import FUNCTIONS
from listener.interfaces import JobSubmitter, Store
from listener.model import Job, JobState

_OSS = re.compile(r"oss://[a-z0-9*][a-z0-9*-]{1,62}\.[a-z0-9-]+(\.[a-z0-9-]+)*/\S+")
#: After these faults it is certain that MPS did not take the job.
_NOT_SENT = frozenset({Fault.REFUSED, Fault.DNS, Fault.TLS, Fault.THROTTLED, Fault.CREDENTIALS, Fault.CLOCK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a submitter asks for: the nine parameters of SubmitIProductionJob, and our own reference."""

    function: str
    input: str = ""
    output: str = ""
    params: str = "{}"
    pipeline: str = ""
    notify_url: str = ""
    user_data: str | None = None
    model: str = ""
    schedule_params: str = ""
    reference: str = ""


def compose_user_data(route: str, data: str) -> str | None:
    """User data that names a route: JSON data gets a member ``route``, other text is put behind a colon."""
    if not route:
        return data or None
    if user_data.parse(f"{route}:").route != route:
        raise UsageError(
            f"route {route!r} can't stand in user data: it must hold no colon, start with none of "
            '{ [ " and have no blanks around it'
        )
    members = _object(data)
    if members is None:
        return f"{route}:{data}"
    if "route" in members:
        raise UsageError(f"the data names the route {members['route']!r} itself; give one of the two")
    # Put in by hand: to read and write JSON anew would change how numbers are written.
    rest = data.lstrip()[1:].lstrip()
    return f'{{"route": {json.dumps(route, ensure_ascii=False)}{", " if members else ""}{rest}'


def check(request: Request) -> list[str]:
    """Warnings about what is unusual. Raises UsageError for what can't work; nothing is sent."""
    if not request.function:
        raise UsageError("no function is given; see `mns-listener submit --help` for the names")
    _check_params(request)
    _check_oss("Input", request.input)
    if request.output:
        _check_oss("Output", request.output)
    _check_placeholder(request)
    if request.notify_url:
        _check_notify_url(request.notify_url)
    return _warnings(request)


def submit(request: Request, *, store: Store, mps: JobSubmitter) -> Job:
    """Submit one job; returns it with its id.

    Raises UsageError and SettingsError (nothing was sent), MpsRejected (there is no job) and MpsUnavailable. After
    the last one the job may or may not exist; it is kept as an intent, and its callback will tell.
    """
    check(request)
    job = _intent(request)
    store.add_job(job)
    try:
        job_id = _patiently(mps, job)
    except (MpsRejected, SettingsError) as error:
        store.refuse_job(job.token, str(error), clock.now())
        raise
    except MpsUnavailable as error:
        if error.fault in _NOT_SENT:
            store.refuse_job(job.token, str(error), clock.now())
        raise
    store.bind_job(job.token, job_id, clock.now())
    return replace(job, job_id=job_id, state=JobState.SUBMITTED, submitted_at=clock.now())


@tenacity.retry(
    retry=tenacity.retry_if_exception(lambda error: getattr(error, "fault", None) is Fault.THROTTLED),
    wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
    stop=tenacity.stop_after_delay(60),
    reraise=True,
)
def _patiently(mps: JobSubmitter, job: Job) -> str:
    """Submit, and wait out throttling, which refuses a call before anything is done."""
    return mps.submit(job, user_data=user_data.seal(job.user_data, job.token))


def _intent(request: Request) -> Job:
    return Job(
        token=secrets.token_urlsafe(16),
        reference=request.reference,
        function=request.function,
        pipeline=request.pipeline,
        input=request.input,
        output=request.output,
        params=request.params,
        model=request.model,
        schedule_params=request.schedule_params,
        notify_url=request.notify_url,
        user_data=request.user_data,
        created_at=clock.now(),
    )


def _object(text: str) -> dict[str, object] | None:
    try:
        value = jsontext.parse(text)
    except jsontext.BadJson:
        return None
    return value if isinstance(value, dict) else None


def _check_params(request: Request) -> None:
    if _object(request.params) is None:
        known = FUNCTIONS.get(request.function)
        example = json.dumps(known.example if known else {})
        raise UsageError(f"JobParams = {request.params!r} is no JSON object; for example '{example}'")


def _check_oss(name: str, url: str) -> None:
    if not _OSS.fullmatch(url):
        raise UsageError(
            f"{name} = {url!r} is no OSS URL; write oss://BUCKET.oss-REGION.aliyuncs.com/path/of/object"
        )


def _check_placeholder(request: Request) -> None:
    known = FUNCTIONS.get(request.function)
    if known and known.placeholder and request.output and known.placeholder not in request.output:
        raise UsageError(
            f"Output = {request.output!r} lacks {known.placeholder}: {request.function} returns several files, "
            f"which would overwrite each other; put {known.placeholder} before the file name's extension"
        )


def _check_notify_url(url: str) -> None:
    try:
        split_queue_url(url)
    except ValueError as error:
        raise UsageError(f"NotifyUrl: {error}") from error


def _warnings(request: Request) -> list[str]:
    if request.function in FUNCTIONS:
        return []
    near = get_close_matches(request.function, FUNCTIONS, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return [
        f"function {request.function!r} is not among the documented ones{guess}; it is submitted as it is"
    ]
