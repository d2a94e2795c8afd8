"""Commands that act on rows, such as dead letters: on those with the given ids, or on all that match the filters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from listener.cli.common import ROW_ID, json_option, print_json
from listener.cli.filtering import filter_options
from listener.core.errors import ListenerError, NotFound, UsageError
from listener.formats.nouns import noun
from listener.formats.unicode_text import visible
from listener.store.row_actions import Changed, R, Source, change_in_pages, every_row

if TYPE_CHECKING:
    from listener.store.filters import Filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is done to rows, in words."""

    verb: str
    done: str
    what: str  #: in the plural
    asks: bool = False  #: whether ``--all`` needs a confirmation
    refuses: bool = False  #: whether it may be refused for single ones
    counts: bool = False  #: whether ``Changed.counts`` says what it led to
    filters: Sequence[str] = ()  #: the options that narrow ``--all``; empty for all of them
    state: bool = False  #: whether ``--state`` is that of the result
    bare: bool = False  #: whether the command may be given without any of these options


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the command line says about the rows to act on."""

    ids: tuple[int, ...]
    everything: bool
    filters: Filters
    dry_run: bool
    as_json: bool
    yes: bool = False

    @property
    def bare(self) -> bool:
        """Whether the command was given alone."""
        return not (self.ids or self.everything or self.filters.given or self.dry_run)


def selection_options(action: Action) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the ids, ``--all``, the filters, ``--dry-run``, ``--json`` and, if the action asks, ``--yes``.

    The command gets them as ``selection``.
    """
    names = ("ids", "everything", "filters", "dry_run", "as_json", *(["yes"] if action.asks else []))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def selecting(**given: Any) -> Any:
            selection = Selection(**{name: given.pop(name) for name in names})
            _check(selection, action)
            return command(selection=selection, **given)

        decorated: Callable[..., Any] = json_option(selecting)
        if action.asks:
            decorated = click.option("-y", "--yes", is_flag=True, help="With --all: do not ask.")(decorated)
        decorated = click.option(
            "--dry-run", is_flag=True, help=f"Show what this would {action.verb}, and change nothing."
        )(decorated)
        decorated = filter_options(*action.filters, state=action.state)(decorated)
        decorated = click.option(
            "--all", "everything", is_flag=True, help=f"All {action.what}, or all that match the filters."
        )(decorated)
        return click.argument("ids", metavar="[ID]...", type=ROW_ID, nargs=-1)(decorated)

    return decorate


def carry_out(
    action: Action,
    selection: Selection,
    source: Source[R],
    *,
    change: Callable[[Sequence[int]], Changed],
    show: Callable[[Sequence[R]], None],
    preview: Callable[[Sequence[int]], Changed] = Changed,
) -> None:
    """Change the selected rows, page by page, and report it.

    ``preview`` returns what ``change`` would. Raises NotFound if an id names none of them, and ListenerError if the
    change was refused for any of them.
    """
    if selection.everything:
        found = list(every_row(source, selection.filters))
        ids = [row.id for row in found]
    else:
        ids = list(dict.fromkeys(selection.ids))
        found = [row for each in ids if (row := source.find(each))] if selection.dry_run else []
    if selection.dry_run:
        changed = change_in_pages([row.id for row in found], preview)
        if not selection.as_json:
            shown = [row for row in found if row.id not in changed.refused]
            if shown or not found:  # else all were refused, and the reasons follow
                show(shown)
    else:
        _confirm(action, selection, len(ids))
        changed = change_in_pages(ids, change)
    missing = sorted(set(ids) - set(changed.ids) - set(changed.refused))
    _report(action, selection, changed=changed, missing=missing)


def _check(selection: Selection, action: Action) -> None:
    if action.bare and selection.bare:
        return
    if selection.everything == bool(selection.ids):
        raise UsageError(f"specify the ids of {action.what}, or --all; use one of the two")
    if selection.filters.given and not selection.everything:
        option = selection.filters.given[0].replace("_", "-")
        raise UsageError(f"--{option} requires --all; remove it, since ids identify {action.what} already")
    if _needs_answer(action, selection) and not sys.stdin.isatty():
        raise UsageError(
            "--all requires --yes where there is no terminal to ask at; "
            f"--dry-run shows what it would {action.verb}"
        )


def _needs_answer(action: Action, selection: Selection) -> bool:
    return action.asks and selection.everything and not selection.yes and not selection.dry_run


def _confirm(action: Action, selection: Selection, number: int) -> None:
    if number and _needs_answer(action, selection):
        click.confirm(
            f"{action.verb.capitalize()} {number} {noun(number, action.what)}?", abort=True, err=True
        )


def _report(action: Action, selection: Selection, *, changed: Changed, missing: Sequence[int]) -> None:
    if selection.as_json:
        refused = [{"id": row, "reason": reason} for row, reason in changed.refused.items()]
        result = {action.done: changed.ids, "missing": missing, "dry_run": selection.dry_run}
        result |= {"refused": refused} if action.refuses else {}
        print_json(result | ({"counts": changed.counts} if action.counts else {}))
    else:
        counted = ", ".join(f"{number} {name}" for name, number in changed.counts.items())
        what = noun(len(changed.ids), action.what)
        rows = f"{len(changed.ids)} {what}{f' ({counted})' if counted else ''}"
        if selection.dry_run:
            click.echo(f"would {action.verb} {rows}; nothing was changed")
        else:
            click.echo(f"{action.done} {rows}")
    for reason in dict.fromkeys(changed.refused.values()):
        rows = ", ".join(str(row) for row, why in changed.refused.items() if why == reason)
        click.echo(visible(f"cannot {action.verb} {rows}: {reason}"), err=True)
    if missing:
        raise NotFound(f"no {action.what} with these ids: {', '.join(map(str, missing))}")
    if changed.refused:
        number = len(changed.refused)
        raise ListenerError(f"{number} {noun(number, action.what)} cannot be {action.done}")
