"""The tree of errors in the documentation of its module."""

from __future__ import annotations

import inspect
import re

from listener.core import errors


def test_the_tree_shows_every_error_below_its_parent() -> None:
    shown: dict[str, str] = {}
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│ ]*(?:[├└]── )?)([A-Z]\w+)\b", line):
            level = len(found[1]) // 4
            ancestors[level:] = [found[2]]
            shown[found[2]] = ancestors[level - 1] if level else "Exception"

    assert shown == {
        name: error.__mro__[1].__name__
        for name, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.ListenerError)
    }
