"""Call a Python function of the user's, in the listener's own process."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, cast

from listener import JobResult


def python(*, callable: str) -> Callable[[JobResult], Awaitable[None] | None]:
    """Find ``package.module:attribute``, a plain or async callable that takes one JobResult.

    Raises ValueError if there is no such thing. An optional ``close`` attribute is called at the end.
    """
    target = _imported(callable)
    if inspect.isclass(target):
        raise ValueError(f"callable = {callable!r} is a class; name a function or an instance")
    if not hasattr(target, "__call__"):  # noqa: B004 - the builtin callable() is hidden by the option's name
        raise ValueError(f"callable = {callable!r} can't be called; it is {type(target).__name__}")
    _check_takes_one_argument(target, callable)
    return cast("Callable[[JobResult], Awaitable[None] | None]", target)


def _imported(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f'callable = {name!r} must read "package.module:attribute"')
    try:
        return attrgetter(attribute)(importlib.import_module(module))
    # The user's module may raise anything while it is imported.
    except Exception as error:
        raise ValueError(
            f"callable = {name!r} can't be imported: {type(error).__name__}: {error}; "
            "it must be installed beside the listener or be on PYTHONPATH"
        ) from error


def _check_takes_one_argument(target: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(target).bind(None)
    except TypeError as error:
        raise ValueError(
            f"callable = {name!r} must take exactly one argument, the JobResult: {error}"
        ) from error
    except ValueError:
        pass  # written in C, without a signature to check
