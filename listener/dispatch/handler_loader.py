"""Handlers from installed packages: finding them, checking their options, calling the asynchronous ones.

A plug-in is a factory under the entry-point group ``mns_listener.handlers``. Its keyword arguments are the
handler's options in the settings file; it returns a ``listener.core.ports.Handler``, and refuses what it
can't work with by raising ValueError or OSError, whose text is shown to the operator.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import difflib
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NotRequired, Required, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

# pydantic takes no other TypedDict before Python 3.12.
from typing_extensions import TypedDict

from listener.core.errors import ListenerError, SettingsError, Unavailable
from listener.core.model import JobResult
from listener.core.ports import Handler

GROUP = "mns_listener.handlers"

_INSTALL = (
    "a handler package must be installed into the environment that runs the listener "
    f"(pip install <package>), with an entry point in the group {GROUP}"
)
#: Options whose values are never shown: credentials themselves, and mappings that tend to hold them.
_HIDDEN = ("secret", "password", "token", "key", "credential", "auth", "header", "env")


def available() -> Mapping[str, EntryPoint]:
    """Every installed handler by name, sorted. Nothing is imported."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    return {name: found[name] for name in sorted(found)}


def load(use: str, options: Mapping[str, Any], *, where: str) -> Handler:
    """Build the handler ``use`` with these options.

    ``where`` is the place in the settings, such as ``routes.captions.handlers[0]``. Raises SettingsError, and
    nothing else, whatever the plug-in does wrong.
    """
    factory = _factory(use, where)
    with _refusals(f"{where}: handler {use!r}"):
        handler = factory(**_checked(factory, options))
    if not callable(handler):
        raise SettingsError(
            f"{where}: handler {use!r} is broken: its factory returned {handler!r}, no callable"
        )
    return cast(Handler, handler)


def options_of(use: str) -> Mapping[str, inspect.Parameter]:
    """The options that a handler takes, by name. Raises SettingsError."""
    factory = _factory(use, "handlers")
    with _refusals(f"handler {use!r}"):
        return _parameters(factory)


def _factory(use: str, where: str) -> Callable[..., Any]:
    point = _entry_point(use, where)
    try:
        factory = point.load()
    # A stranger's module may raise anything while it is imported.
    except Exception as error:
        raise SettingsError(
            f"{where}: handler {use!r} ({point.value}) can't be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(factory):
        raise SettingsError(f"{where}: handler {use!r} is broken: {point.value} is no callable")
    return cast(Callable[..., Any], factory)


def _entry_point(use: str, where: str) -> EntryPoint:
    values = sorted({point.value for point in entry_points(group=GROUP) if point.name == use})
    if len(values) > 1:
        raise SettingsError(
            f"{where}: several packages provide a handler {use!r}: {', '.join(values)}; uninstall all but one"
        )
    if not values:
        raise SettingsError(_unknown(use, where))
    return available()[use]


def _unknown(use: str, where: str) -> str:
    names = list(available())
    near = difflib.get_close_matches(use, names, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{where}: use = {use!r} is no installed handler{guess}; available: {', '.join(names)}; {_INSTALL}"


@contextmanager
def _refusals(subject: str) -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"{subject}: {error}") from error
    except (ValueError, OSError, ListenerError) as error:
        raise SettingsError(f"{subject} can't work: {error}") from error
    except Exception as error:
        raise SettingsError(f"{subject} failed to start: {type(error).__name__}: {error}") from error


def _checked(factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the factory's annotations want them; one SettingsError names all that is wrong."""
    parameters = _parameters(factory)
    try:
        return cast(dict[str, Any], _options_type(factory, parameters).validate_python(dict(options)))
    except ValidationError as error:
        known = ", ".join(parameters) or "none"
        problems = "; ".join(_problem(detail, known) for detail in error.errors(include_url=False))
        raise SettingsError(problems) from error


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(factory, eval_str=True).parameters
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: parameter for name, parameter in parameters.items() if parameter.kind not in variadic}


def _options_type(
    factory: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> TypeAdapter[Any]:
    """A TypedDict of the factory's keywords: unlike a model, it has no attributes for options to shadow."""
    make: Any = TypedDict  # the type checker knows literal TypedDicts only
    options = make("Options", {name: _field(parameter) for name, parameter in parameters.items()})
    kinds = {parameter.kind for parameter in inspect.signature(factory).parameters.values()}
    options.__pydantic_config__ = ConfigDict(
        extra="allow" if inspect.Parameter.VAR_KEYWORD in kinds else "forbid", arbitrary_types_allowed=True
    )
    return TypeAdapter(options)


def _field(parameter: inspect.Parameter) -> Any:
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    return Required[annotation] if parameter.default is parameter.empty else NotRequired[annotation]


def _problem(detail: ErrorDetails, known: str) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"option {key!r} is missing"
    if detail["type"] == "extra_forbidden":
        return f"option {key!r} is unknown; known options: {known}"
    if not any(word in key.lower() for word in _HIDDEN):
        return f"{key} = {detail['input']!r}: {_rule(detail)}"
    # The words of a validator may quote the value, those of pydantic itself do not.
    rule = "not valid" if detail["type"] in ("value_error", "assertion_error") else detail["msg"]
    return f"{key} (value not shown): {rule}"


def _rule(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


class CoroutineRunner:
    """Calls handlers from worker threads, whether they are plain or asynchronous.

    All coroutines share one event loop in one daemon thread, started when the first one comes, so that
    handlers may keep connections open between calls. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, handler: Handler, result: JobResult, *, timeout: timedelta | None = None) -> None:
        """Call the handler and wait until it is done; raises what it raises, but never lets it exit.

        After ``timeout`` a coroutine is cancelled and TimeoutError raised; a plain function can't be
        interrupted. Raises Unavailable, which spends no attempt, if the runner was closed meanwhile.
        """
        try:
            self._finish(handler(result), timeout)
        except SystemExit as error:
            raise RuntimeError(f"the handler called exit({error.code!r})") from error

    def close_handler(self, handler: Handler, *, timeout: timedelta | None = None) -> None:
        """Call the handler's ``close()``, plain or asynchronous, if it has one."""
        close = getattr(handler, "close", None)
        if close is not None:
            self._finish(close(), timeout)

    def close(self, *, grace: timedelta = timedelta(seconds=5)) -> None:
        """Cancel what still runs and end the loop; after ``grace``, leave behind what ignores this."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(grace.total_seconds())

    def _finish(self, outcome: Awaitable[None] | None, timeout: timedelta | None) -> None:
        if not inspect.isawaitable(outcome):
            return
        future = self._schedule(outcome)
        try:
            future.result(None if timeout is None else timeout.total_seconds())
        except TimeoutError:
            if future.done():  # the handler's own TimeoutError
                raise
            future.cancel()
            raise TimeoutError(f"the handler took longer than {timeout}") from None
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None

    def _schedule(self, outcome: Awaitable[None]) -> concurrent.futures.Future[None]:
        coroutine = outcome if inspect.iscoroutine(outcome) else _awaiting(outcome)
        # Under the lock, so that close() can't stop the loop between the check and the scheduling.
        with self._lock:
            if self._closed:
                coroutine.close()  # else Python warns that it was never awaited
                raise self._cancelled()
            return asyncio.run_coroutine_threadsafe(coroutine, self._started())

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="async-handlers", daemon=True
            )
            self._thread.start()
        return self._loop

    def _cancelled(self) -> Exception:
        if self._closed:
            return Unavailable("the listener is stopping")
        return RuntimeError("the handler cancelled itself")


async def _awaiting(outcome: Awaitable[None]) -> None:
    await outcome


def _was_broken_off(loop: asyncio.AbstractEventLoop) -> bool:
    """Run the loop until it is stopped (false), or until a coroutine calls exit (true), as its caller is told."""
    try:
        loop.run_forever()
    except SystemExit:
        return True
    return False


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while _was_broken_off(loop):
        pass
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
