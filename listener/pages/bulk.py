"""Actions on many rows: select, see what would happen, confirm, see what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from starlette.responses import Response

from listener.core.errors import UsageError
from listener.pages.filter_form import FilterForm, read_form, row_id
from listener.pages.rendering import number
from listener.pages.visit import PageRoute, View, Visit
from listener.store.row_actions import Changed, change_in_pages

#: How many rows one request changes, so that it does not take long: the page that follows offers the rest.
MAX_AT_ONCE: Final = 2000


class Change(Protocol):
    """Carries the action out on the rows with these ids, or finds out what it would do."""

    def __call__(self, visit: Visit, ids: Sequence[int], /, *, dry_run: bool) -> Changed: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """What can be done to the rows of a list."""

    verb: str
    done: str
    what: str  #: in the plural
    effect: str  #: one sentence
    area: str  #: the path of the list
    filters: Sequence[str]
    change: Change
    #: The ids of all rows that match the filters, newest first, from those before an id on; 0 for all.
    matching: Callable[[Visit, FilterForm, int], Iterator[int]]
    deletes: bool = False  #: whether it cannot be undone

    @property
    def path(self) -> str:
        return f"{self.area}/{self.verb}"

    def counted(self, count: int) -> str:
        """So many of them, in words."""
        return f"{number(count)} {self.what.removesuffix('s') if count == 1 else self.what}"

    @property
    def route(self) -> PageRoute:
        return PageRoute(path=self.path, view=_view(self), method="POST", changes=True)


def _view(action: BulkAction) -> View:
    def view(visit: Visit) -> Response:
        form = read_form(visit, *action.filters)
        ids = _selected(visit, action, form)
        dry_run = visit.given("confirmed") != "1"
        changed = change_in_pages(ids, lambda page: action.change(visit, page, dry_run=dry_run))
        values: dict[str, Any] = {
            "action": action,
            "changed": changed,
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
        return list(islice(action.matching(visit, form, row_id(newest) + 1 if newest else 0), MAX_AT_ONCE))
    ids = [row_id(each) for each in dict.fromkeys(visit.form.get("id", ()))]
    if not ids:
        raise UsageError(f"no {action.what} were selected; go back and check some, or choose all")
    return ids


def _by_reason(changed: Changed) -> Sequence[tuple[str, Sequence[int]]]:
    """Each reason for a refusal, with the rows that were refused for it."""
    found: dict[str, list[int]] = {}
    for row, reason in changed.refused.items():
        found.setdefault(reason, []).append(row)
    return list(found.items())
