"""Why a result goes to a route or not: for each route the first condition that the result does not meet, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from listener.core.model import Job, Result
from listener.formats.unicode_text import shortened
from listener.rules.routing import Mismatch, Rule, match_context, mismatch

#: How much of a value is shown; callbacks may have huge members.
SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteReason:
    """One route: whether it matches, and if not, why."""

    route: str
    matches: bool
    condition: str = ""  #: the first one that is not met, as in the settings; empty if all are
    wanted: Any = None
    found: Any = None  #: None if there is no such member
    met: int = 0  #: how many conditions before it are met
    text: str = "all conditions are met"  #: in words


def route_reasons(
    rules: Sequence[Rule], result: Result, *, job: Job | None, queue: str
) -> Sequence[RouteReason]:
    """One for each route, in the order of precedence. ``queue``: the one that brought the result."""
    context = match_context(result, job, queue)
    return [_reason(rule, mismatch(rule.match, context)) for rule in rules]


def nearest_first(reasons: Sequence[RouteReason]) -> Sequence[RouteReason]:
    """First the routes that match, then those of which most conditions are met before one that is not."""
    return sorted(reasons, key=lambda reason: (not reason.matches, -reason.met))


def nearest_text(reasons: Sequence[RouteReason]) -> str:
    """In one line why a result is parked: the route that came nearest."""
    for reason in nearest_first(reasons):
        if reason.matches:
            return f"the route {reason.route!r} matches by now: `mns-listener results reroute`"
        return f"{reason.route}: {reason.text}"
    return "the settings have no routes"


def _reason(rule: Rule, failed: Mismatch | None) -> RouteReason:
    if failed is None:
        return RouteReason(route=rule.name, matches=True)
    return RouteReason(
        route=rule.name,
        matches=False,
        condition=failed.condition,
        wanted=failed.wanted,
        found=failed.found,
        met=failed.met,
        text=_text(failed),
    )


def _text(failed: Mismatch) -> str:
    wanted = list(failed.wanted) if isinstance(failed.wanted, list | tuple) else [failed.wanted]
    several = ", ".join(map(_shown, wanted[:-1]))
    alternatives = f"{several} or {_shown(wanted[-1])}" if several else "".join(map(_shown, wanted))
    rest = f", wanted {alternatives}" if wanted else ""
    return f"{failed.condition} {_state_of(failed)}{rest}"


def _state_of(failed: Mismatch) -> str:
    if failed.missing:
        return "is missing"
    if failed.found in ("", (), []):
        return "is empty"
    found = failed.found if isinstance(failed.found, list | tuple) else [failed.found]
    return f"is {', '.join(map(_shown, found))}"


def _shown(value: Any) -> str:
    """As JSON; TOML has dates, too, which never equal a member of a callback."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str), SHOWN)
