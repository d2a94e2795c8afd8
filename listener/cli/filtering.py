"""The options that narrow a listing, or what a command acts on: the same for every list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, Final

import click

from listener.cli import completing
from listener.core import clock
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.formats import points_in_time, states
    from listener.store import filters as narrow


class PointInTime(click.ParamType[datetime]):
    """An ISO 8601 date or time, which is local unless it says otherwise, or how long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return points_in_time.parse_point_in_time(value, now=clock.now())
        except ValueError as error:
            self.fail(str(error), param, ctx)


class AnyCase(click.Choice[str]):
    """One of these values, in any case. click's own means would list them in lower case."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = {choice.casefold(): choice for choice in self.choices}
        return super().convert(known.get(str(value).casefold(), value), param, ctx)


def _as_recorded(_context: click.Context, _option: click.Parameter, given: str) -> str:
    known = states.known_state(given) if given else ""
    if known is None:
        raise click.BadParameter(
            f"{given!r} is not a known state; use one of {', '.join(states.KNOWN_STATES)}"
        )
    return known


_OPTIONS: Final = {
    "function": click.option(
        "--function",
        default="",
        help="Only of this function, e.g. Cover.",
        shell_complete=completing.functions,
    ),
    "kind": click.option(
        "--kind",
        default="",
        help="Only of jobs of this kind, e.g. Transcode, or of events of this type.",
        shell_complete=completing.kinds,
    ),
    "route": click.option(
        "--route",
        default="",
        help="Only with a delivery of this route.",
        shell_complete=completing.routes,
    ),
    "reference": click.option(
        "--reference",
        default="",
        help="Only of the job with this reference; talk-* for all that begin so.",
        shell_complete=completing.jobs,
    ),
    "queue": click.option(
        "--queue",
        default="",
        help="Only what came from this queue, by its name in the settings.",
        shell_complete=completing.queues,
    ),
    "result_state": click.option(
        "--result-state",
        default="",
        callback=_as_recorded,
        help="Only with a result of this state, e.g. Fail.",
    ),
    "since": click.option(
        "--since", type=PointInTime(), help="Only from this time on: ISO 8601, or how long ago, e.g. 2h."
    ),
    "until": click.option("--until", type=PointInTime(), help="Only before this time."),
}


#: For rows that have no other state than that of their result.
_STATE: Final = click.option(
    "--state",
    "--result-state",
    "result_state",
    default="",
    callback=_as_recorded,
    help="Only with a result of this state, e.g. Fail.",
)


def filter_options(*names: str, state: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds these options, or all; the command gets their values as ``filters``.

    ``state``: ``--state`` is the same as ``--result-state``, since the rows have no other one.
    """
    used = names or tuple(_OPTIONS)
    options = _OPTIONS | ({"result_state": _STATE} if state else {})

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def narrowed(**given: Any) -> Any:
            return command(filters=narrow.Filters(**{name: given.pop(name) for name in used}), **given)

        decorated: Callable[..., Any] = narrowed
        for name in reversed(used):
            decorated = options[name](decorated)
        return decorated

    return decorate
