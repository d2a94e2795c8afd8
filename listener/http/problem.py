"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
#: Where each type of problem is described, under its name.
TYPES: Final = "https://github.com/mns-listener/mns-listener/blob/main/docs/api.md#"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request was refused or failed. Members without a value are left out of the document."""

    name: str  #: the last part of its ``type``
    title: str  #: the same for every problem of this type
    status: int
    detail: str = ""  #: what is wrong with this request
    field: str = ""  #: the parameter or the member of the body that is wrong, as a dotted path
    hint: str = ""  #: what to do about it
    code: str = ""  #: the error code of MPS
    request_id: str = ""  #: under which Alibaba Cloud knows the call
    errors: Sequence[Mapping[str, str]] = ()  #: every ``field`` with its ``detail``, if several are wrong
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        optional = {
            name: value
            for name in ("detail", "field", "hint", "code", "request_id", "errors")
            if (value := getattr(self, name))
        }
        return {
            "type": f"{TYPES}{self.name}",
            "title": self.title,
            "status": self.status,
            **optional,
        }


def problem_response(problem: Problem) -> Response:
    """In ASCII: a request that is refused may contain text that cannot be encoded otherwise."""
    return Response(
        json.dumps(problem.document),
        status_code=problem.status,
        headers=dict(problem.headers),
        media_type=MEDIA_TYPE,
    )
