"""Error messages for invalid settings: which key, which value, which rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from listener.formats.unicode_text import shortened


def explain(detail: Any, document: Any, model: type[BaseModel]) -> str:
    """The message for one pydantic error: the key, its value in the document, and the rule or the fix."""
    where = _dotted(detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where} is an unknown key; {_known(detail['loc'], model)}"
    if detail["type"] == "missing":
        return f"{where} is missing; add {detail['loc'][-1]} = …"
    if detail["type"] in ("model_type", "model_attributes_type"):
        return f"{where} must be a table; use {_as_table(detail['loc'])}"
    rule = detail["msg"].removeprefix("Value error, ")
    value = _at(document, detail["loc"])
    return (
        f"{where} = {shortened(repr(value), 200)}: {rule}"
        if value is not None and _scalar(value)
        else f"{where}: {rule}".lstrip(": ")
    )


def _as_table(path: Sequence[Any]) -> str:
    """The TOML syntax of a table at this path: a section, or inline within a list."""
    return "{ key = value }" if isinstance(path[-1], int) else f"[{_dotted(path)}]"


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _dotted(path: Iterable[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _at(document: Any, path: Iterable[Any]) -> Any:
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _known(path: Iterable[Any], top: type[BaseModel]) -> str:
    """The keys that are valid at this path."""
    model: Any = top
    for part in list(path)[:-1]:
        if part in model.model_fields:  # otherwise it is a list index, or a name that the user chose
            model = section_of(model.model_fields[part].annotation)
    return "valid keys: " + ", ".join(model.model_fields)


def section_of(annotation: Any) -> Any:
    """The section inside an annotation such as ``tuple[RouteSettings, ...]`` or ``RetrySettings | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        found
        for argument in getattr(annotation, "__args__", ())
        if argument is not Ellipsis and (found := section_or_none(argument))
    )


def section_or_none(annotation: Any) -> Any:
    try:
        return section_of(annotation)
    except StopIteration:
        return None
