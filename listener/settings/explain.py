"""Error messages for invalid settings: where it was set, which key, which value, which rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from listener.formats.unicode_text import shortened
from listener.formats.value_rules import broken_rule, rule_of
from listener.settings.origins import Origins
from listener.settings.section_types import section_of, section_or_none


def explain(detail: Any, origins: Origins, model: type[BaseModel]) -> str:
    """The message for one pydantic error: file or variable, the key, its value as it is written, and the rule."""
    return f"{origins.name(detail['loc'])}: {_problem(detail, origins, model)}"


def _problem(detail: Any, origins: Origins, model: type[BaseModel]) -> str:
    path, kind = detail["loc"], detail["type"]
    where = _dotted(path)
    if kind == "extra_forbidden":
        return f"{where} is an unknown key; {_known(path, model)}"
    if kind == "missing":
        return f"{where} is missing; add {path[-1]} = …"
    if kind in ("model_type", "model_attributes_type"):
        return f"{where} must be a table; use {_as_table(path)}"
    if kind == "tuple_type" and section_or_none(
        _model_at(path[:-1], model).model_fields[path[-1]].annotation
    ):
        return f"{where} must be an array of tables; use {_as_array(path)}"
    value, text = origins.scalar(path)
    rule = rule_of(detail)
    if not text:
        return f"{where}: {rule}".lstrip(": ")
    return broken_rule(f"{where} = {shortened(text, 200)}", value, rule)


def _as_table(path: Sequence[Any]) -> str:
    """The TOML syntax of a table at this path: a section, or inline within a list."""
    return "{ key = value }" if isinstance(path[-1], int) else f"[{_dotted(path)}]"


def _as_array(path: Sequence[Any]) -> str:
    return f"[[{path[0]}]]" if len(path) == 1 else f"{path[-1]} = [{{ key = value }}]"


def _dotted(path: Iterable[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _known(path: Sequence[Any], top: type[BaseModel]) -> str:
    return "valid keys: " + ", ".join(_model_at(path[:-1], top).model_fields)


def _model_at(path: Iterable[Any], top: type[BaseModel]) -> Any:
    """The section at this path."""
    model: Any = top
    for part in path:
        if part in model.model_fields:  # otherwise it is a list index, or a name that the user chose
            model = section_of(model.model_fields[part].annotation)
    return model
