"""Parses untrusted JSON: the value can be stored, rendered as strict JSON, and traversed recursively."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from listener.formats.unicode_text import storable

#: Deeper nesting could exceed the recursion limit of the JSON encoder.
MAX_DEPTH: Final = 64

#: A surrogate pair (kept), a lone surrogate, NUL, or any other escape (kept); in this order.
_ESCAPE: Final = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
    r"|\\u0000"
    r"|(\\.)",
    re.DOTALL,
)
_BLANK: Final = " \t\r\n"


class BadJson(ValueError):
    """The text is not JSON, or not of the accepted kind; the message says why."""


def parse(text: str) -> Any:
    """The value. Raises BadJson for anything else, for nesting beyond MAX_DEPTH and for integers of excessive length.

    Strings contain no NUL and no lone surrogates, and numbers are finite: ``NaN``, ``Infinity`` and floats that
    overflow become strings with the original spelling. Control characters within strings are allowed.
    """
    try:
        value = _decoded(_without_bad_escapes(storable(text)))
    except RecursionError:
        raise BadJson(f"nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise BadJson(f"not valid JSON: {error}") from error
    if _may_be_deep(text) and _is_deeper(value, MAX_DEPTH):
        raise BadJson(f"nested more than {MAX_DEPTH} levels deep")
    return value


def render(value: Any) -> str:
    """The value as compact JSON text, members in their given order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _decoded(text: str) -> Any:
    """What ``JSONDecoder.decode`` returns or raises, without its regular expressions for the blanks around it."""
    value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(_BLANK)))
    if rest := text[end:].lstrip(_BLANK):
        raise json.JSONDecodeError("Extra data", text, len(text) - len(rest))
    return value


def _without_bad_escapes(text: str) -> str:
    r"""Replace what would become NUL or a lone surrogate: ``\u0000``, ``\ud800``."""
    if "\\u" not in text:
        return text
    return _ESCAPE.sub(lambda match: match[1] or match[2] or "\\ufffd", text)


def _finite(text: str) -> float | str:
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number


def _may_be_deep(text: str) -> bool:
    return text.count("[") + text.count("{") > MAX_DEPTH


def _is_deeper(value: Any, limit: int) -> bool:
    """Traverse level by level: linear time, and no recursion that could itself exceed its limit."""
    level = [value]
    for _ in range(limit):
        level = [child for item in level for child in _containers_in(item)]
        if not level:
            return False
    return True


def _containers_in(value: Any) -> list[Any]:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [member for member in members if isinstance(member, dict | list)]


_DECODER: Final = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=str)
