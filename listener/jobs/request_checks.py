"""Verifies a request before anything is sent.

Text that cannot be stored or sent is always refused. What probably cannot work at MPS is refused unless the request has
``force``; then it is a warning, like what is only unusual.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from listener.core.errors import DoubtfulJob, UsageError
from listener.core.job_kinds import IPRODUCTION, MEDIA_INFO, SUBMITTED_KINDS
from listener.core.model import ANSWERED_AT_ONCE
from listener.formats import user_data
from listener.formats.oss_url import split_oss_url
from listener.formats.queue_url import as_notify_url
from listener.formats.unicode_text import shortened
from listener.jobs import job_params
from listener.jobs.functions import FUNCTIONS
from listener.jobs.request import (
    JobRequest,
    check_deadline,
    check_text,
    function_warnings,
    json_object,
    region_of,
)

_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
#: All documented placeholders.
PLACEHOLDERS: Final = ("{source}", "{timestamp}", "{sequenceId}", "{resultType}")
#: The limit of related MPS calls; for this call none is documented.
MAX_USER_DATA_BYTES: Final = 1024
MAX_REFERENCE_LENGTH: Final = 256
SENT_OR_STORED: Final = (
    *("function", "kind", "input", "output", "params_json", "pipeline", "notify_url", "model"),
    *("complete_user_data", "schedule_params", "reference"),
)
#: How to override it, as users of the command line and of files know it.
FORCE: Final = "if you know better, submit it with --force (in Python and in files: force = true)"


class Doubt(NamedTuple):
    """Why a job probably cannot work."""

    field: str  #: the value of the request; empty if it is not a single one
    text: str


def check(request: JobRequest, *, region: str = "") -> list[str]:
    """Warnings about the values; ``region`` is that of MPS, if known.

    Raises UsageError for values that cannot work; nothing is sent.
    """
    _require_sendable(request)
    doubts = list(_doubts(request, region))
    if doubts and not request.force:
        raise DoubtfulJob(doubts[0].text, field=doubts[0].field, hint=FORCE)
    return [*(doubt.text for doubt in doubts), *_warnings(request)]


def corrected(request: JobRequest) -> JobRequest:
    """With the NotifyUrl in the form that MPS accepts, if it can be converted."""
    try:
        url = as_notify_url(request.notify_url or "")
    except ValueError:
        return request
    return request if url == request.notify_url else replace(request, notify_url=url)


def _require_sendable(request: JobRequest) -> None:
    """What no ``force`` changes."""
    _require_known_kind(request)
    if request.deadline is not None:
        check_deadline(request.deadline)
    if request.user_data is not None and (request.route or request.data):
        raise UsageError("user_data cannot be combined with route or data; use one form", field="user_data")
    for name in SENT_OR_STORED:
        check_text(name, getattr(request, name) or "")
    if len(request.reference) > MAX_REFERENCE_LENGTH:
        raise UsageError(
            f"reference = {request.reference!r} is too long; use at most {MAX_REFERENCE_LENGTH} characters",
            field="reference",
        )


def _require_known_kind(request: JobRequest) -> None:
    """What the call for another kind than smart production cannot be made without."""
    names = [kind.name for kind in SUBMITTED_KINDS]
    if request.kind not in names:
        raise UsageError(
            f"kind = {request.kind!r} cannot be submitted here; use one of {', '.join(names)}, or submit it yourself "
            "and register it",
            field="kind",
        )
    if request.kind == IPRODUCTION.name:
        if not request.function:
            raise UsageError(
                "function is missing; name one, e.g. Cover, or another kind of job", field="function"
            )
        return
    if request.function:
        raise UsageError(
            f"function = {request.function!r}: jobs of the kind {request.kind} have no functions; omit it",
            field="function",
        )
    for name, url in (("input", request.input), ("output", request.output)):
        if not url and (name, request.kind) != ("output", MEDIA_INFO.name):
            raise UsageError(f"{name} is missing; {request.kind} requires an OSS URL", field=name)
        for doubt in _oss_doubts(name, name, url) if url else ():
            raise UsageError(doubt.text, field=doubt.field)
    if json_object(request.params_json) is None:
        raise UsageError(
            f"params = {shortened(repr(request.params), 200)} is not a JSON object", field="params"
        )
    if request.kind == MEDIA_INFO.name and (request.output or json_object(request.params_json)):
        name, given = ("output", request.output) if request.output else ("params", request.params_json)
        raise UsageError(
            f"{name} = {shortened(repr(given), 200)}: {request.kind} has no such parameter; omit it, the properties of "
            "the input are in the job's outputs",
            field=name,
        )
    for name in ("notify_url", "model", "schedule_params"):
        if given := getattr(request, name):
            raise UsageError(
                f"{name} = {given!r}: {request.kind} has no such parameter; its callback goes to the queue that its "
                "pipeline is bound to",
                field=name,
            )


def _doubts(request: JobRequest, region: str) -> Iterator[Doubt]:
    """Why it probably cannot work."""
    if request.kind != IPRODUCTION.name:
        yield from _region_doubts(request, region)
        yield from _callback_doubts(request)
        return
    yield from _params_doubts(request)
    for name, shown, url in (("input", "Input", request.input), ("output", "Output", request.output)):
        if url:
            yield from _oss_doubts(name, shown, url)
    if request.output:
        yield from _placeholder_doubts(request, json_object(request.params_json) or {})
    if request.notify_url:
        yield from _notify_doubts(request.notify_url)
    yield from _region_doubts(request, region)
    yield from _callback_doubts(request)


def _params_doubts(request: JobRequest) -> Iterator[Doubt]:
    if json_object(request.params_json) is None:
        given = shortened(repr(request.params), 200)
        advice = _advice(request.function)
        yield Doubt(
            "params",
            f"JobParams = {given} is not a JSON object with names and texts in double quotes; {advice}",
        )


def _advice(function: str) -> str:
    """How the JobParams of this function are written."""
    known = FUNCTIONS.get(function)
    example = (known.example or known.one_file_params) if known else {"name": "value"}
    if not example:
        return f"{function} has no parameters: omit it, or use '{{}}'"
    return f"for example '{json.dumps(example)}'"


def _oss_doubts(field: str, shown: str, url: str) -> Iterator[Doubt]:
    try:
        split_oss_url(url)
    except ValueError as error:
        yield Doubt(field, f"{shown}: {error}")


def _placeholder_doubts(request: JobRequest, params: Mapping[str, Any]) -> Iterator[Doubt]:
    unknown = [found for found in _PLACEHOLDER.findall(request.output) if found not in PLACEHOLDERS]
    if unknown:
        yield Doubt(
            "output",
            f"Output = {request.output!r} contains the unknown placeholder {unknown[0]}; "
            f"use one of {' '.join(PLACEHOLDERS)}",
        )
    known = FUNCTIONS.get(request.function)
    needed = known.required_placeholder(params) if known else ""
    if needed not in request.output:
        yield Doubt(
            "output",
            f"Output = {request.output!r} has no {needed}: {request.function} writes several files, which would "
            f"overwrite each other; add {needed} before the file extension",
        )


def _notify_doubts(url: str) -> Iterator[Doubt]:
    try:
        as_notify_url(url)
    except ValueError as error:
        yield Doubt("notify_url", f"NotifyUrl: {error}")


def _region_doubts(request: JobRequest, region: str) -> Iterator[Doubt]:
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
        yield Doubt("", f"MPS, Input, Output and NotifyUrl must be in the same region, but {places}")


def _callback_doubts(request: JobRequest) -> Iterator[Doubt]:
    if request.notify_url or request.pipeline or request.function in ANSWERED_AT_ONCE:
        return
    way_out = (
        "set notify_url (--notify-url, mps.notify_url) to the URL of a queue that the daemon consumes"
        if request.kind == IPRODUCTION.name
        else "set pipeline (--pipeline, mps.pipeline) to one that is bound to a queue that the daemon consumes"
    )
    yield Doubt(
        "notify_url" if request.kind == IPRODUCTION.name else "pipeline",
        "the job has neither a NotifyUrl nor a pipeline, so MPS sends no callback: its outcome would only be found "
        f"after its deadline, when a daemon with [mps] queries MPS; {way_out}",
    )


def _warnings(request: JobRequest) -> Iterator[str]:
    """What is unusual."""
    yield from _user_data_warnings(request)
    if request.kind == IPRODUCTION.name:
        yield from _function_warnings(request)


def _function_warnings(request: JobRequest) -> Iterator[str]:
    yield from function_warnings(request.function)
    if not request.input and request.function in FUNCTIONS:
        yield f"Input is missing: MPS accepts that, but {request.function} works on a file"
    params = json_object(request.params_json) or {}
    yield from job_params.problems(request.function, params)
    yield from _output_warnings(request, params)


def _output_warnings(request: JobRequest, params: Mapping[str, Any]) -> Iterator[str]:
    known = FUNCTIONS.get(request.function)
    if known and not known.names_its_files and "{timestamp}" in request.output:
        yield (
            f"Output = {request.output!r} contains {{timestamp}}, but the result of {request.function} does not name "
            "its file: its object key can then only be found by listing the bucket; omit {timestamp}"
        )
    separated = request.function == "CaptionExtraction" and params.get("sep") is True
    if separated and request.output and "{resultType}" not in request.output:
        yield (
            f"Output = {request.output!r} has no {{resultType}}, but with sep there are two files, zh and en: one "
            "overwrites the other; add {resultType} before the file extension"
        )


def _user_data_warnings(request: JobRequest) -> Iterator[str]:
    text = request.complete_user_data or ""
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
