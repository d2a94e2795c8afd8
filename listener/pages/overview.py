"""The overview: what is open now, and what happened in the last hour, with figures for live charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from listener.core import clock
from listener.core.model import Source
from listener.formats.durations import span_text
from listener.pages.rendering import number
from listener.pages.visit import Area, PageRoute, Visit
from listener.rules.attention import callbacks_get_lost, is_backlog_old
from listener.store.statistics import Activity, Statistics, Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure of the overview, and the page that says more."""

    name: str
    label: str
    count: str
    note: str = ""
    tone: str = ""  #: set if it needs attention
    link: str = ""


def show_overview(visit: Visit) -> Response:
    totals, activity = _statistics(visit)
    return visit.render(
        "overview.html",
        ready=visit.context.ready(),
        tiles=_tiles(totals),
        activity=activity,
        sources=_sources(activity),
        share_is_high=callbacks_get_lost(activity.query_share, outcomes=sum(activity.ended_by.values())),
        rates=activity.rates(),
    )


def show_figures(visit: Visit) -> Response:
    """What the script of the overview draws."""
    totals, activity = _statistics(visit)
    # The last minute goes on, so it would look like a drop.
    whole = [each for each in activity.minutes if each.at + timedelta(minutes=1) <= activity.at]
    figures: dict[str, Any] = {
        "tiles": [_figures_of(tile) for tile in _tiles(totals)],
        "minutes": [round(each.at.timestamp()) for each in whole],
        "received": [each.received for each in whole],
        "handled": [each.handled for each in whole],
        "failed": [each.failed for each in whole],
        "backlog": _backlog(visit.context.history() or [totals]),
    }
    return JSONResponse(figures)


def _statistics(visit: Visit) -> tuple[Totals, Activity]:
    """As the daemon has read them last, since reading takes a second and more in a large store; read now if it has just
    started."""
    history, activity = visit.context.history(), visit.context.activity()
    at, statistics = clock.now(), Statistics(visit.context.store.database)
    return history[-1] if history else statistics.totals(at), activity or statistics.activity(at)


def _backlog(history: Sequence[Totals]) -> Sequence[Sequence[float]]:
    """The times, the deliveries that were not settled, and the minutes that the oldest pending one had waited."""
    return (
        [round(each.at.timestamp(), 1) for each in history],
        [each.pending + each.running for each in history],
        [round(each.oldest_pending_age / timedelta(minutes=1), 2) for each in history],
    )


def _figures_of(tile: Tile) -> dict[str, str]:
    """What of a tile changes while a page is open."""
    return {"name": tile.name, "count": tile.count, "note": tile.note, "tone": tile.tone}


def _tiles(totals: Totals) -> Sequence[Tile]:
    age = totals.oldest_pending_age
    undecided = totals.waiting + totals.verifying
    return (
        Tile(
            name="pending",
            label="Pending deliveries",
            count=number(totals.pending),
            note=f"oldest {span_text(age)}" if totals.pending else "",
            tone="warn" if is_backlog_old(age) else "",
            link="/deliveries",
        ),
        Tile(name="running", label="Running deliveries", count=number(totals.running), link="/deliveries"),
        Tile(
            name="undecided",
            label="Undecided results",
            count=number(undecided),
            note=f"{number(totals.verifying)} being verified" if totals.verifying else "",
        ),
        Tile(
            name="overdue",
            label="Overdue jobs",
            count=number(totals.overdue),
            note="MPS is asked" if totals.overdue else "",
            tone="warn" if totals.overdue else "",
        ),
        _problem("dead", "Dead letters", totals.dead, "bad", "/dead-letters"),
        _problem("parked", "Parked results", totals.parked, "warn", "/parked"),
        _problem("quarantined", "Quarantine", totals.quarantined, "warn", "/quarantine"),
        Tile(name="size", label="Store size", count=_size(totals.bytes)),
    )


def _problem(name: str, label: str, count: int, tone: str, link: str) -> Tile:
    return Tile(name=name, label=label, count=number(count), tone=tone if count else "", link=link)


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.3g} GiB"


def _sources(activity: Activity) -> Sequence[tuple[str, int]]:
    """How the outcomes of the last hour came, in words."""
    words = {
        Source.CALLBACK: "by callback",
        Source.QUERY: "by query",
        Source.REPLY: "in the reply to the submission",
        Source.LISTENER: "declared lost",
    }
    return [(words[source], activity.ended_by.get(source, 0)) for source in words]


AREA: Final = Area(
    title="Overview",
    path="/",
    routes=(
        PageRoute(path="/", view=show_overview),
        PageRoute(path="/overview.json", view=show_figures),
    ),
)
