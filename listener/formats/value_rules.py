"""The rules that values of settings and options must follow, in plain words instead of pydantic's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from listener.formats.toml_text import toml_text

#: By pydantic's type of error; the names in braces are those of its context.
_RULES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "must be a whole number"
    ),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("string_type", "path_type"), "must be text in quotes"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type"), 'must be a list, e.g. ["a", "b"]'),
    **dict.fromkeys(("dict_type", "mapping_type"), "must be a table, e.g. {{ key = value }}"),
    **dict.fromkeys(("literal_error", "enum"), "must be {expected}"),
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
_EMPTY: Final = "must not be empty"


def rule_of(detail: Mapping[str, Any]) -> str:
    """The rule that a value breaks, from one of the errors of a pydantic ``ValidationError``."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("string_too_short", "too_short") and context["min_length"] == 1:
        return _EMPTY
    if kind in _RULES:
        return _RULES[kind].format_map({name: _bound(value) for name, value in context.items()})
    message: str = detail["msg"]
    for introduction in ("Value error, ", "Assertion failed, "):
        message = message.removeprefix(introduction)
    return message.replace("Input should ", "must ")


def broken_rule(given: str, value: Any, rule: str) -> str:
    """What was ``given``, such as ``timeout = "3x"``, and the rule that this value breaks.

    The rules of our own types begin with the value, which is not repeated.
    """
    repeated = toml_text(value)
    return f"{given}{rule.removeprefix(repeated)}" if rule.startswith(f"{repeated} ") else f"{given}: {rule}"


def _bound(value: object) -> str:
    return value if isinstance(value, str) else toml_text(value)
