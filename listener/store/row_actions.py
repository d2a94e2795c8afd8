"""Actions on rows, such as replaying dead letters: where the rows come from, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from listener.core.model import Target
    from listener.store.filters import Filters
    from listener.store.searching import Page

#: How many rows are read or changed at a time.
PAGE: Final = 500


class Row(Protocol):
    """A delivery, or anything else that an action can be carried out on."""

    @property
    def id(self) -> int: ...


R = TypeVar("R", bound=Row)


class Pages(Protocol[R]):
    """Rows in pages, newest first."""

    def page(self, *, filters: Filters, before: int, limit: int) -> Page[R]: ...


class Source(Pages[R], Protocol[R]):
    """Where the rows come from: a page, and a single one."""

    def find(self, row_id: int, /) -> R | None: ...


@dataclass(frozen=True, slots=True)
class Changed:
    """Which rows were changed, why others were not, and where it differs: how many ended in which way, and where."""

    ids: Sequence[int]
    refused: Mapping[int, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    targets: Mapping[int, Sequence[Target]] = field(default_factory=dict)


def every_row(source: Pages[R], filters: Filters, *, before: int = 0) -> Iterator[R]:
    """All that match the filters, newest first; ``before`` as for a page."""
    while True:
        page = source.page(filters=filters, before=before, limit=PAGE)
        yield from page
        if not page.next:
            return
        before = page.next


def change_in_pages(ids: Sequence[int], change: Callable[[Sequence[int]], Changed]) -> Changed:
    """Change these rows, so many at a time that no transaction takes long."""
    return joined([change(ids[start : start + PAGE]) for start in range(0, len(ids), PAGE)])


def joined(pages: Sequence[Changed]) -> Changed:
    """What became of all the rows of several transactions."""
    return Changed(
        [row for page in pages for row in page.ids],
        {row: reason for page in pages for row, reason in page.refused.items()},
        sum((Counter(page.counts) for page in pages), Counter()),
        {row: targets for page in pages for row, targets in page.targets.items()},
    )
