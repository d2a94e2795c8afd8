"""Call a user-supplied Python function in the process of the listener."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, cast

from listener import JobResult


def python(*, callable: str) -> Callable[[JobResult], Awaitable[None] | None]:
    """Find ``package.module:attribute``, a plain or async callable that takes one JobResult.

    Raises ValueError if it is not found. An optional ``close`` attribute is called at shutdown.
    """
    target = _imported(callable)
    if inspect.isclass(target):
        raise ValueError(f"callable = {callable!r} is a class; use a function or an instance")
    if not hasattr(target, "__call__"):  # noqa: B004 - the builtin callable() is hidden by the option's name
        raise ValueError(
            f"callable = {callable!r} is a {type(target).__name__}, which is not callable; use a function"
        )
    _check_takes_one_argument(target, callable)
    return cast("Callable[[JobResult], Awaitable[None] | None]", target)


def _imported(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f'callable = {name!r} is not valid; expected "package.module:attribute"')
    try:
        return attrgetter(attribute)(importlib.import_module(module))
    # The module may raise any exception when it is imported.
    except Exception as error:
        raise ValueError(
            f"callable = {name!r} cannot be imported: {type(error).__name__}: {error}; "
            "install it in the environment of the listener or add it to PYTHONPATH"
        ) from error


def _check_takes_one_argument(target: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(target).bind(None)
    except TypeError as error:
        raise ValueError(
            f"callable = {name!r} must take exactly one argument, the JobResult: {error}"
        ) from error
    except ValueError:
        pass  # implemented in C, without a signature
