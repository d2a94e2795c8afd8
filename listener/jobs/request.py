"""The request to submit a job, and its validation before anything is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from listener.core.errors import UsageError
from listener.core.job_kinds import IPRODUCTION, JOB_KINDS, kind_of_type
from listener.formats import lenient_json, user_data
from listener.formats.durations import to_duration
from listener.formats.queue_url import split_queue_url
from listener.formats.unicode_text import shortened, storable
from listener.jobs import job_params
from listener.jobs.functions import FUNCTIONS
from listener.jobs.job_params import Params

_OSS = re.compile(r"oss://(?P<bucket>[a-z0-9*][a-z0-9*-]{1,62})\.(?P<place>[a-z0-9-]+(\.[a-z0-9-]+)*)/\S+")
_REGION = re.compile(
    r"(?:^|\.)(?:oss-|mns\.)(?P<region>[a-z]{2}-[a-z0-9-]+?)(?:-internal(?:-vpc)?|-vpc)?\.aliyuncs\.com"
)
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
#: All documented placeholders.
PLACEHOLDERS = ("{source}", "{timestamp}", "{sequenceId}", "{resultType}")
KIND_NAMES = tuple(kind.name for kind in JOB_KINDS)
#: The limit of related MPS calls; for this call none is documented.
MAX_USER_DATA_BYTES = 1024
MAX_REFERENCE_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The nine parameters of SubmitIProductionJob, and our own fields."""

    function: str
    input: str = ""
    output: str = ""
    params: str | Params = "{}"  #: JobParams: JSON text, or a ``Params`` object
    pipeline: str | None = None  #: None: from the settings, if a client submits it
    notify_url: str | None = None  #: the same
    user_data: str | None = None
    model: str = ""
    schedule_params: str = ""
    reference: str = ""  #: the submitter's own name for the job; unique if given
    deadline: timedelta | None = None  #: after which its callback is overdue; None: from the settings

    @property
    def params_json(self) -> str:
        return self.params if isinstance(self.params, str) else self.params.to_json()


def compose_user_data(route: str, data: str) -> str | None:
    """User data with a route: JSON data gets a member ``route``, other text the prefix ``ROUTE:``."""
    if not route:
        return data or None
    if user_data.parse(f"{route}:").route != route:
        raise UsageError(
            f"route {route!r} cannot be used in user data; use a name without colons and without leading or "
            'trailing white space that does not start with { [ or "'
        )
    members = json_object(data)
    if members is None:
        return f"{route}:{data}"
    if "route" in members:
        raise UsageError(
            f"the data already has the member route = {members['route']!r}; use that or --route, not both"
        )
    # Inserted as text: parsing and rendering the JSON would change the spelling of numbers.
    rest = data.lstrip()[1:].lstrip()
    return f'{{"route": {json.dumps(route, ensure_ascii=False)}{", " if members else ""}{rest}'


def check(request: JobRequest, *, region: str = "") -> list[str]:
    """Warnings about unusual values; ``region`` is that of MPS, if known.

    Raises UsageError for values that cannot work; nothing is sent.
    """
    if not request.function:
        raise UsageError("function is missing; see `mns-listener submit --help`")
    if request.deadline is not None:
        check_deadline(request.deadline)
    for name in ("function", "input", "output", "notify_url", "user_data", "reference", "pipeline"):
        check_text(name, getattr(request, name) or "")
    if len(request.reference) > MAX_REFERENCE_LENGTH:
        raise UsageError(
            f"reference = {request.reference!r} is too long; use at most {MAX_REFERENCE_LENGTH} characters"
        )
    _check_params(request)
    _check_oss("Input", request.input)
    if request.output:
        _check_oss("Output", request.output)
        _check_placeholders(request)
    if request.notify_url:
        _check_notify_url(request.notify_url)
    _check_regions(request, region)
    return [
        *function_warnings(request.function),
        *job_params.problems(request.function, json_object(request.params_json) or {}),
        *_user_data_warnings(request),
    ]


def function_warnings(function: str) -> list[str]:
    """A warning about a name that is not documented, perhaps because it is misspelled."""
    if function in FUNCTIONS:
        return []
    near = get_close_matches(function, FUNCTIONS, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return [f"function {function!r} is not a documented function{guess}; it is used unchanged"]


def registered_kind(kind: str, function: str) -> str:
    """The name of the kind of an externally submitted job; empty if nothing tells it. Raises UsageError."""
    if not kind:
        return IPRODUCTION.name if function else ""
    found = kind_of_type(kind)
    if found is None:
        near = get_close_matches(kind, KIND_NAMES, n=1)
        raise UsageError(
            f"kind {kind!r} is not a kind of MPS jobs{f'; did you mean {near[0]}?' if near else ''}; "
            f"use one of {', '.join(KIND_NAMES)}, or none"
        )
    if function and found is not IPRODUCTION:
        raise UsageError(
            f"function {function!r} belongs to {IPRODUCTION.name}, not to {found.name}; omit one of the two"
        )
    return found.name


def check_deadline(deadline: timedelta) -> None:
    """Raises UsageError for a deadline that is negative, or so long that the timestamp could overflow."""
    try:
        to_duration(deadline)
    except ValueError as error:
        raise UsageError(f"deadline: {error}") from error


def check_text(name: str, value: str) -> None:
    """Raises UsageError for text that cannot be stored or sent."""
    if storable(value) != value:
        raise UsageError(f"{name} = {value!r} contains a NUL or a lone surrogate; remove it")


def json_object(text: str) -> dict[str, object] | None:
    """The JSON object in the text; None if it is anything else."""
    try:
        value = lenient_json.parse(text)
    except lenient_json.BadJson:
        return None
    return value if isinstance(value, dict) else None


def _check_params(request: JobRequest) -> None:
    if json_object(request.params_json) is None:
        known = FUNCTIONS.get(request.function)
        example = json.dumps(known.example if known else {})
        raise UsageError(f"JobParams = {request.params!r} is not a JSON object; use e.g. '{example}'")


def _check_oss(name: str, url: str) -> None:
    if not _OSS.fullmatch(url):
        raise UsageError(
            f"{name} = {url!r} is not a valid OSS URL; expected oss://BUCKET.oss-REGION.aliyuncs.com/OBJECT "
            "with a bucket of 3 to 63 lower-case letters, digits and hyphens"
        )


def _check_placeholders(request: JobRequest) -> None:
    unknown = [found for found in _PLACEHOLDER.findall(request.output) if found not in PLACEHOLDERS]
    if unknown:
        raise UsageError(
            f"Output = {request.output!r} contains the unknown placeholder {unknown[0]}; "
            f"use one of {' '.join(PLACEHOLDERS)}"
        )
    known = FUNCTIONS.get(request.function)
    if known and known.placeholder and known.placeholder not in request.output:
        raise UsageError(
            f"Output = {request.output!r} has no {known.placeholder}: {request.function} writes several files, "
            f"which would overwrite each other; add {known.placeholder} before the file extension"
        )


def _check_notify_url(url: str) -> None:
    try:
        split_queue_url(url)
    except ValueError as error:
        raise UsageError(f"NotifyUrl: {error}") from error


def _check_regions(request: JobRequest, region: str) -> None:
    """Bucket, queue and MPS must be in one region; only regions that appear in the URLs can be compared."""
    seen = {
        "MPS": region,
        "Input": region_of(request.input),
        "Output": region_of(request.output),
        "NotifyUrl": region_of(request.notify_url or ""),
    }
    regions = {name: found for name, found in seen.items() if found}
    if len(set(regions.values())) > 1:
        places = ", ".join(f"{name} is in {found}" for name, found in regions.items())
        raise UsageError(f"MPS, Input, Output and NotifyUrl must be in the same region, but {places}")


def region_of(url: str) -> str:
    """The region in the host of an OSS or MNS URL; empty if there is none."""
    match = _REGION.search(url.partition("://")[2].partition("/")[0])
    return match["region"] if match else ""


def _user_data_warnings(request: JobRequest) -> Iterator[str]:
    text = request.user_data or ""
    length = len(text.encode())
    if length > MAX_USER_DATA_BYTES - user_data.MAX_TOKEN_OVERHEAD:
        yield (
            f"user data of {length} bytes: MPS may reject or truncate it, since related calls accept "
            f"{MAX_USER_DATA_BYTES}; store large data elsewhere, and send its key"
        )
    if _looks_like_json(text) and json_object(text) is None:
        yield (
            f"the user data {shortened(text, 80)!r} begins like a JSON object but is not one: it is sent as text, so "
            "match.data does not apply, and handlers get no members; verify its quotes and braces"
        )


def _looks_like_json(text: str) -> bool:
    """Also after the prefix that ``compose_user_data`` writes before data that is not a JSON object."""
    route = user_data.parse(text).route
    return text.lstrip().startswith("{") or text.startswith(f"{route}:{{")
