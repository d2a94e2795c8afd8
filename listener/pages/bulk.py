"""Actions on many rows: select, see what would happen, confirm, see what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from starlette.responses import Response

from listener.api.row_changes import RowChanges
from listener.core.errors import UsageError
from listener.formats.nouns import noun
from listener.pages.filter_form import FilterForm, read_form, row_id
from listener.pages.rendering import number
from listener.pages.visit import PageRoute, View, Visit
from listener.store.database import Database
from listener.store.row_actions import Changed, Source, change_in_pages, every_row

#: How many rows one request changes, so that it does not take long: the page that follows offers the rest.
MAX_AT_ONCE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """What can be done to the rows of a list."""

    verb: str
    done: str
    what: str  #: in the plural
    effect: str  #: one sentence
    area: str  #: the path of the list
    filters: Sequence[str]
    source: Callable[[Database], Source[Any]]
    change: Callable[[RowChanges], Callable[..., Changed]]
    deletes: bool = False  #: whether it cannot be undone
    wakes: bool = False  #: whether there is something for the daemon to do at once

    @property
    def path(self) -> str:
        return f"{self.area}/{self.verb}"

    def counted(self, count: int) -> str:
        """So many of them, in words."""
        return f"{number(count)} {noun(count, self.what)}"

    @property
    def route(self) -> PageRoute:
        return PageRoute(path=self.path, view=_view(self), method="POST", changes=True)


def _view(action: BulkAction) -> View:
    def view(visit: Visit) -> Response:
        form = read_form(visit, *action.filters)
        ids = _selected(visit, action, form)
        dry_run = visit.given("confirmed") != "1"
        changed = _carried_out(visit, action, ids, dry_run=dry_run)
        values: dict[str, Any] = {
            "action": action,
            "changed": changed,
            "counts": changed.counts or _by_target(changed),
            "missing": sorted(set(ids) - set(changed.ids) - set(changed.refused)),
            "refusals": _by_reason(changed),
            "everything": visit.given("all") == "1",
            "at_once": MAX_AT_ONCE,
            "back": form.link(action.area),
        }
        if dry_run:
            newest = visit.given("newest") or (str(ids[0]) if ids else "")
            return visit.render("confirm.html", ids=ids, form=form, newest=newest, **values)
        return visit.render("done.html", **values)

    return view


def _selected(visit: Visit, action: BulkAction, form: FilterForm) -> Sequence[int]:
    """What the form selects. Rows that came after the page that was confirmed are left alone."""
    if visit.given("all") == "1":
        newest = visit.given("newest")
        rows = every_row(
            action.source(visit.context.store.database),
            form.filters,
            before=row_id(newest) + 1 if newest else 0,
        )
        return [row.id for row in islice(rows, MAX_AT_ONCE)]
    ids = [row_id(each) for each in dict.fromkeys(visit.form.get("id", ()))]
    if not ids:
        raise UsageError(f"no {action.what} were selected; go back and check some, or choose all")
    return ids


def _carried_out(visit: Visit, action: BulkAction, ids: Sequence[int], *, dry_run: bool) -> Changed:
    change = action.change(RowChanges(visit.context.store, visit.context.settings))
    changed = change_in_pages(ids, lambda page: change(page, dry_run=dry_run))
    if action.wakes and not dry_run:
        visit.context.wake()
    return changed


def _by_target(changed: Changed) -> dict[str, int]:
    """How many go to each handler."""
    targets = Counter(target for targets in changed.targets.values() for target in targets)
    return {f"to {target.route}/{target.handler}": count for target, count in targets.items()}


def _by_reason(changed: Changed) -> Sequence[tuple[str, Sequence[int]]]:
    """Each reason for a refusal, with the rows that were refused for it."""
    found: dict[str, list[int]] = {}
    for row, reason in changed.refused.items():
        found.setdefault(reason, []).append(row)
    return list(found.items())
