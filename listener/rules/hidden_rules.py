"""Rules that can never be the first match, because an earlier one matches everything that they match."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from listener.rules.routing import USUAL_STATES, Match, Rule, equal_json

_WILDCARDS = frozenset("*?[")


def hidden_rules(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Each rule that an earlier one hides, with that one. Rules that only several earlier ones hide are not found."""
    for place, rule in enumerate(rules):
        hiding = next((other for other in rules[:place] if covers(other.match, rule.match)), None)
        if hiding:
            yield rule, hiding


def covers(match: Match, other: Match) -> bool:
    """Whether it is certain that this matches whatever the other one matches."""
    return (
        _covers(match.state or USUAL_STATES, other.state or USUAL_STATES, _folded)
        and _covers(match.type, other.type, _folded)
        and _covers(match.activity_state, other.activity_state, _folded)
        and all(
            _covers(getattr(match, name), getattr(other, name))
            for name in ("route", "function", "queue", "pipeline")
        )
        and _covers_patterns(match.user_data, other.user_data)
        and _covers_members(match.data, other.data)
        and _covers_members(match.callback, other.callback, _folded)
    )


def _covers(wanted: Any, given: Any, as_compared: Callable[[Any], Any] = lambda value: value) -> bool:
    """Whether one of the wanted values, where there are any, is found whenever one of the given ones is."""
    names = {as_compared(value) for value in _listed(wanted)}
    return not names or (_listed(given) != [] and names.issuperset(map(as_compared, _listed(given))))


def _covers_patterns(wanted: Any, given: Any) -> bool:
    patterns = _listed(wanted)
    if not patterns or "*" in patterns:
        return True
    return _listed(given) != [] and all(
        text in patterns
        or (_WILDCARDS.isdisjoint(text) and any(fnmatchcase(text, pattern) for pattern in patterns))
        for text in _listed(given)
    )


def _covers_members(
    wanted: Mapping[str, Any], given: Mapping[str, Any], as_compared: Callable[[str], str] = str
) -> bool:
    return all(
        any(
            as_compared(path) == as_compared(other)
            and _covers_values(_listed(wanted[path]), _listed(given[other]))
            for other in given
        )
        for path in wanted
    )


def _covers_values(wanted: Sequence[Any], given: Sequence[Any]) -> bool:
    """Without values, the member only has to be there."""
    if not wanted:
        return True
    return given != [] and all(any(equal_json(each, value) for each in wanted) for value in given)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _folded(text: str) -> str:
    return text.casefold()
