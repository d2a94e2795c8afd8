"""The request to submit a job. ``request_checks`` verifies it before anything is sent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from listener.core.errors import UsageError
from listener.core.job_kinds import IPRODUCTION, JOB_KINDS, kind_of_type
from listener.formats import lenient_json, user_data
from listener.formats.durations import to_duration
from listener.formats.unicode_text import shortened, storable
from listener.jobs.functions import FUNCTIONS
from listener.jobs.job_params import Params

_REGION = re.compile(
    r"(?:^|\.)(?:oss-|mns\.)(?P<region>[a-z]{2}-[a-z0-9-]+?)(?:-internal(?:-vpc)?|-vpc)?\.aliyuncs\.com"
)
#: Callbacks with longer ids are quarantined.
MAX_JOB_ID = 256
KIND_NAMES = tuple(kind.name for kind in JOB_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The nine parameters of SubmitIProductionJob, those of the calls for the other kinds, and our own fields."""

    function: str = ""  #: of smart production; no other kind has functions
    kind: str = IPRODUCTION.name  #: a name of ``SUBMITTED_KINDS``
    input: str = ""
    output: str = ""
    #: JSON text of an object: JobParams (or a ``Params`` object); of Transcode, the members of its output; of Snapshot,
    #: those of SnapshotConfig; of MediaInfo, none.
    params: str | Params = "{}"
    pipeline: str | None = None  #: None: from the settings, if a client submits it
    notify_url: str | None = None  #: the same
    route: str = ""  #: named in the user data, so that rules with ``match.route`` can ask for it
    data: str = ""  #: the user data without the route: text, or a JSON object
    user_data: str | None = None  #: the complete user data, instead of ``route`` and ``data``
    model: str = ""
    schedule_params: str = ""
    reference: str = ""  #: the submitter's own name for the job; unique if given
    deadline: timedelta | None = None  #: after which its callback is overdue; None: from the settings
    force: bool = False  #: submit it although it probably cannot work; the reasons become warnings

    @property
    def subject(self) -> str:
        """The function, or the kind of other jobs: what deadlines are given for."""
        return self.function or self.kind

    @property
    def params_json(self) -> str:
        """Never empty: MPS requires JobParams, also of functions that have none."""
        return (self.params if isinstance(self.params, str) else self.params.to_json()) or "{}"

    @property
    def complete_user_data(self) -> str | None:
        """Raises UsageError if route and data cannot be combined."""
        return compose_user_data(self.route, self.data) if self.user_data is None else self.user_data

    @property
    def named_route(self) -> str:
        """The route, also that of JSON user data; the beginning of other text may be meant otherwise."""
        parsed = user_data.parse(self.complete_user_data)
        return self.route or (parsed.route if parsed.fields else "")


def compose_user_data(route: str, data: str) -> str | None:
    """User data with a route: JSON data gets a member ``route``, other text the prefix ``ROUTE:``."""
    if not route:
        return data or None
    if user_data.parse(f"{route}:").route != route:
        raise UsageError(
            f"route {route!r} cannot be used in user data; use a name without colons and without leading or "
            'trailing white space that does not start with { [ or "',
            field="route",
        )
    members = json_object(data)
    if members is None:
        return f"{route}:{data}"
    if "route" in members:
        raise UsageError(
            f"the data already has the member route = {members['route']!r}; use that or --route, not both",
            field="data",
        )
    # Inserted as text: parsing and rendering the JSON would change the spelling of numbers.
    rest = data.lstrip()[1:].lstrip()
    return f'{{"route": {json.dumps(route, ensure_ascii=False)}{", " if members else ""}{rest}'


def function_warnings(function: str) -> list[str]:
    """A warning about a name that is not documented, perhaps because it is misspelled."""
    if function in FUNCTIONS:
        return []
    near = get_close_matches(function, FUNCTIONS, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return [f"function {function!r} is not a documented function{guess}; it is used unchanged"]


def kind_name(given: str) -> str:
    """The name of a kind in whatever case; smart production if none is given, else what is unknown unchanged."""
    found = kind_of_type(given) if given else IPRODUCTION
    return found.name if found else given


def registered_kind(kind: str, function: str) -> str:
    """The name of the kind of an externally submitted job; empty if nothing tells it. Raises UsageError."""
    if not kind:
        return IPRODUCTION.name if function else ""
    found = kind_of_type(kind)
    if found is None:
        near = get_close_matches(kind, KIND_NAMES, n=1)
        raise UsageError(
            f"kind {kind!r} is not a kind of MPS jobs{f'; did you mean {near[0]}?' if near else ''}; "
            f"use one of {', '.join(KIND_NAMES)}, or none",
            field="kind",
        )
    if function and found is not IPRODUCTION:
        raise UsageError(
            f"function {function!r} belongs to {IPRODUCTION.name}, not to {found.name}; omit one of the two",
            field="function",
        )
    return found.name


def check_job_id(job_id: str) -> None:
    """Raises UsageError for an id that no callback can have."""
    if job_id.split() != [job_id] or "," in job_id or len(job_id) > MAX_JOB_ID:
        raise UsageError(
            f"job id {shortened(job_id, 60)!r} is empty, longer than {MAX_JOB_ID} characters, or contains blanks or a "
            "comma, so no callback can match it; use the id that MPS returned"
        )


def check_deadline(deadline: timedelta) -> None:
    """Raises UsageError for a deadline that is negative, or so long that the timestamp could overflow."""
    try:
        to_duration(deadline)
    except ValueError as error:
        raise UsageError(f"deadline: {error}", field="deadline") from error


def check_text(name: str, value: str) -> None:
    """Raises UsageError for text that cannot be stored or sent."""
    if storable(value) != value:
        raise UsageError(f"{name} = {value!r} contains a NUL or a lone surrogate; remove it", field=name)


def json_object(text: str) -> dict[str, object] | None:
    """The JSON object in the text; None if it is anything else."""
    try:
        value = lenient_json.parse(text)
    except lenient_json.BadJson:
        return None
    return value if isinstance(value, dict) else None


def region_of(url: str) -> str:
    """The region in the host of an OSS or MNS URL; empty if there is none."""
    match = _REGION.search(url.partition("://")[2].partition("/")[0])
    return match["region"] if match else ""
