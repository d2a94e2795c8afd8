"""Renders templates, and says how values look: times, numbers, states."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from listener.core import clock
from listener.core.model import CANCELLED, FAIL, LOST, SUCCESS, DeliveryState, JobState, ResultStatus
from listener.formats.durations import span_text

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"
#: What stands where there is no value.
NOTHING: Final = Markup('<span class="nothing">\N{EN DASH}</span>')
#: The colour of a state; all others are neutral.
TONES: Final[Mapping[str, str]] = {
    SUCCESS: "good",
    FAIL: "bad",
    CANCELLED: "warn",
    LOST: "bad",
    JobState.REFUSED: "bad",
    DeliveryState.DONE: "good",
    DeliveryState.DEAD: "bad",
    DeliveryState.PENDING: "warn",
    ResultStatus.PARKED: "warn",
    ResultStatus.WAITING: "warn",
    ResultStatus.VERIFYING: "warn",
    "ok": "good",
}


class Templates:
    """The templates of the pages; what they insert is escaped, and a name that they misspell is an error."""

    def __init__(self, **shared: Any) -> None:
        """``shared`` are the values that every page has."""
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {"static": static_url, "tones": TONES, **shared}
        self._environment.filters |= {
            "moment": moment,
            "ago": ago,
            "span": span_text,
            "number": number,
            "state": state,
            "text": text,
            "words": words,
        }

    def render(self, template: str, /, **values: Any) -> str:
        return self._environment.get_template(template).render(values)


@cache
def static_files() -> Mapping[str, bytes]:
    """The content of each static file, by name."""
    return {path.name: path.read_bytes() for path in STATIC.iterdir() if path.is_file()}


@cache
def static_url(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep the file."""
    return f"/static/{name}?v={hashlib.sha256(static_files()[name]).hexdigest()[:12]}"


def moment(at: datetime | None) -> Markup:
    """A time in UTC, to the second."""
    if at is None:
        return NOTHING
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="milliseconds"), utc.strftime("%Y-%m-%d %H:%M:%S")
    )


def ago(at: datetime | None) -> Markup:
    """How long ago a time was, or in how long it will be."""
    if at is None:
        return NOTHING
    passed = clock.now() - at
    words = f"{span_text(passed)} ago" if passed >= timedelta(0) else f"in {span_text(-passed)}"
    exact = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        exact.isoformat(timespec="milliseconds"), exact.strftime("%Y-%m-%d %H:%M:%S"), words
    )


def number(value: int) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def state(name: str, tone: str = "") -> Markup:
    """A state as a small label in its colour."""
    if not name:
        return NOTHING
    return Markup('<span class="state {}">{}</span>').format(tone or TONES.get(name, "neutral"), name)


def text(value: object) -> Markup:
    """A text, or a dash for an empty one."""
    return NOTHING if value is None or value == "" else escape(str(value))


def words(name: str) -> Markup:
    """The name of a function, which may be broken between its words; a dash for an empty one."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", name)) if name else NOTHING
