"""One request of a page: what a view gets, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, Response

from listener.core.errors import UsageError
from listener.formats.unicode_text import storable

if TYPE_CHECKING:
    from listener.api.context import ApiContext
    from listener.pages.rendering import Templates
    from listener.pages.sessions import Session

#: How many fields a form or an address may have.
MAX_FIELDS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request, from someone who may see the pages."""

    context: ApiContext
    templates: Templates
    session: Session
    csrf_token: str
    path: str
    query: Mapping[str, Sequence[str]]
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def render(self, template: str, /, *, status: int = 200, **values: Any) -> Response:
        """The page of this template, with these values."""
        body = self.templates.render(
            template, session=self.session, csrf_token=self.csrf_token, path=self.path, **values
        )
        return HTMLResponse(body, status_code=status)

    def asked(self, name: str) -> str:
        """What the address says about this name; empty if nothing."""
        return self.query.get(name, ("",))[-1].strip()

    def given(self, name: str) -> str:
        """What the form says about this name; empty if nothing."""
        return self.form.get(name, ("",))[-1].strip()


View = Callable[[Visit], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """Which view answers at a path. The form of a POST has been verified before the view gets it."""

    path: str
    view: View
    method: str = "GET"
    changes: bool = False  #: whether it changes anything, which needs a session that may write


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Pages about one thing, and their entry in the navigation."""

    title: str
    path: str
    routes: Sequence[PageRoute]
    inner: Sequence[str] = ()  #: the paths of its pages that do not begin with its own


def parse_fields(encoded: str) -> Mapping[str, Sequence[str]]:
    """The fields of an urlencoded form or query. Raises UsageError if there are too many."""
    try:
        found = parse_qs(encoded, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError as error:
        raise UsageError(f"more than {MAX_FIELDS} fields; select fewer rows") from error
    return {name: list(map(storable, values)) for name, values in found.items()}
