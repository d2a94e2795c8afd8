"""The settings that are in use, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from starlette.responses import Response

from listener.api.configuration import shown_settings
from listener.formats.durations import span_text
from listener.pages.visit import Area, PageRoute, Visit


def show_settings(visit: Visit) -> Response:
    settings = visit.context.settings
    defaults = dict(_flat(shown_settings(type(settings)())))
    sections: dict[str, list[tuple[str, str, bool]]] = {}
    for path, value in _flat(shown_settings(settings)):
        section, _, name = path.partition(".")
        sections.setdefault(section, []).append((name, value, value != defaults.get(path)))
    return visit.render("settings.html", sections=sections)


def _flat(values: Mapping[str, Any], *, above: str = "") -> Iterator[tuple[str, str]]:
    """Each value with its dotted path."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, above=f"{above}{name}.")
        else:
            yield f"{above}{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return span_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None or value == {} else str(value)


AREA: Final = Area(
    title="Settings", path="/settings", routes=(PageRoute(path="/settings", view=show_settings),)
)
