"""``mns-listener tail``: follow what is recorded, finished and settled, whichever process does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from listener.api.serialize import feed_event_dict
from listener.cli.closed_output import wait_for_reader
from listener.cli.common import (
    config_option,
    examples,
    opened_store,
    print_json,
    print_warnings,
    settings_from,
)
from listener.cli.filtering import AnyCase, filter_options
from listener.cli.table import cell_text, is_for_people, piped_line
from listener.core import clock
from listener.core.errors import Interrupted, StoreUnavailable
from listener.core.lazy_imports import lazy_imports

with lazy_imports():
    from listener.store import event_feed, feed_events

if TYPE_CHECKING:
    from datetime import datetime

    from listener.store.event_feed import EventFeed, FeedFilter
    from listener.store.feed_events import FeedEvent
    from listener.store.feed_position import Position
    from listener.store.filters import Filters

#: How often to look for new events, in seconds.
LOOK_SECONDS: Final = 1.0
#: How many of the last events come first.
LINES: Final = 20
EVENTS: Final = ("recorded", "decided", "finished", "settled", "dropped", "replayed")

EXAMPLES = {
    "tail": (
        "mns-listener tail",
        "mns-listener tail --route covers --state dead",
        "mns-listener tail --since 1h --no-follow --json",
    )
}

Show = Callable[["FeedEvent"], None]


class _EventChoice(AnyCase):
    """One of these words, or the name of an event that ends with it, as ``--json`` and the API print it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        short = {name.value: name.partition(".")[2] for name in feed_events.EventName}
        return super().convert(short.get(str(value).casefold(), value), param, ctx)


@click.command(epilog=examples(EXAMPLES))
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 10_000),
    default=None,
    help="Show so many of the last events first.  [default: 20; with --since, all]",
)
@click.option(
    "--event",
    type=_EventChoice(EVENTS),
    default=None,
    help="Only these events; also as in --json, e.g. job.finished.",
)
@click.option(
    "--state", default="", help="Only results, jobs or deliveries in this state, e.g. Fail or dead."
)
@filter_options("function", "route", "since")
@click.option("--no-follow", is_flag=True, help="End instead of waiting for further events.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line instead of text.")
@config_option
@click.pass_context
def tail(
    ctx: click.Context,
    *,
    lines: int | None,
    event: str | None,
    state: str,
    filters: Filters,
    no_follow: bool,
    as_json: bool,
    path: Path | None,
) -> None:
    """Follow what is recorded, finished and settled.

    Shows results, outcomes of jobs, and how attempts at deliveries ended, one event per line, as they are committed.

    Ends with Ctrl-C, or when its reader has ended. Reads only, also beside a running daemon.
    """
    wanted = event_feed.FeedFilter(
        event=_name(event), route=filters.route, function=filters.function, state=state
    )
    with opened_store(settings_from(path), read_only=True) as store:
        follower = _Follower(
            event_feed.EventFeed(store.database), wanted, _show_json if as_json else _shower()
        )
        try:
            follower.begin(lines, filters.since)
            follower.read()
            while not no_follow:
                wait_for_reader(LOOK_SECONDS)
                follower.read_if_available()
        except KeyboardInterrupt:
            ctx.exit(Interrupted.exit_code)


class _Follower:
    """Shows the events that match, one after another."""

    def __init__(self, feed: EventFeed, wanted: FeedFilter, show: Show) -> None:
        self._feed = feed
        self._wanted = wanted
        self._show = show
        self._position: Position
        self._failing = False

    def begin(self, lines: int | None, since: datetime | None) -> None:
        """Show the last events; everything from ``since`` on, unless only so many lines are wanted."""
        if since is None:
            page = self._feed.newest(LINES if lines is None else lines, self._wanted)
            self._show_all(page.events)
            self._position = page.position
            return
        self._position = self._feed.since(since)
        if lines is not None:
            last: deque[FeedEvent] = deque(maxlen=lines)
            self._read_into(last.append)
            self._show_all(last)

    def read(self) -> None:
        """Show what there is by now. Raises StoreUnavailable."""
        self._read_into(self._show)

    def read_if_available(self) -> None:
        """The same; warns once while the store is unavailable."""
        try:
            self.read()
        except StoreUnavailable as error:
            if not self._failing:
                print_warnings([f"{error}; trying again"])
            self._failing = True
        else:
            self._failing = False

    def _read_into(self, take: Show) -> None:
        more = True
        while more:
            page = self._feed.after(self._position)
            for each in filter(self._wanted.matches, page.events):
                take(each)
            self._position, more = page.position, page.more

    def _show_all(self, events: Sequence[FeedEvent] | deque[FeedEvent]) -> None:
        for each in events:
            self._show(each)


def _name(event: str | None) -> str:
    """The full name of an event."""
    return next((name for name in feed_events.EventName if event and name.endswith(f".{event}")), "")


def _show_json(event: FeedEvent) -> None:
    print_json(feed_event_dict(event))


def _shower() -> Show:
    return _Screen() if is_for_people() else _show_cells


def _show_cells(event: FeedEvent) -> None:
    """One line of cells for a program, as in lists."""
    click.echo(piped_line([cell_text(event.at), _what(event), event.state, _subject(event), _rest(event)]))


class _Screen:
    """Lines for people, of at most 80 columns if there is no error; a line with the date where it changes."""

    def __init__(self) -> None:
        self._day: date = clock.now().astimezone().date()

    def __call__(self, event: FeedEvent) -> None:
        at = event.at.astimezone()
        if at.date() != self._day:
            self._day = at.date()
            click.echo(f"--- {self._day}")
        cells = f"{at:%H:%M:%S} {_what(event):<8} {cell_text(event.state):<9} {_subject(event):<32}  {_rest(event)}"
        click.echo(cells.rstrip())


def _what(event: FeedEvent) -> str:
    return event.event.partition(".")[2]


def _subject(event: FeedEvent) -> str:
    """A name by which ``jobs show`` finds the job."""
    return cell_text(event.reference or event.job_id)


def _rest(event: FeedEvent) -> str:
    to = "/".join(filter(None, [*event.routes, event.handler])) if event.handler else ""
    tried = f"#{event.attempt}" if event.attempt and (event.error or event.attempt > 1) else ""
    words: list[Any] = [to or event.function, event.status, tried, event.error]
    return cell_text("  ".join(filter(None, words)))
