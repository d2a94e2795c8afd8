"""Handlers from installed packages: finds them, checks their options and builds them.

A plug-in is a factory under the entry-point group ``mns_listener.handlers``. Its keyword arguments are the
handler's options in the settings file; it returns a ``listener.core.ports.Handler``, and rejects invalid options by
raising ValueError or OSError, whose text is shown to the operator.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NotRequired, Required, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

# pydantic takes no other TypedDict before Python 3.12.
from typing_extensions import TypedDict

from listener.core.errors import ListenerError, SettingsError
from listener.core.ports import Handler
from listener.formats.toml_text import toml_text
from listener.formats.value_rules import broken_rule, rule_of
from listener.settings.file_paths import located

GROUP = "mns_listener.handlers"

_INSTALL = (
    "a handler package must be installed into the environment that runs the listener "
    f"(pip install <package>), with an entry point in the group {GROUP}"
)
#: Options whose values are never shown: credentials themselves, and mappings that tend to hold them.
_HIDDEN = ("secret", "password", "token", "key", "credential", "auth", "header", "env")


class Installed:
    """The installed handlers as they are now, for loading many: packages are searched once, and the options of each
    factory are analysed once. Imports a handler when it is first used. For one thread.
    """

    def __init__(self) -> None:
        self._points = entry_points(group=GROUP)
        self._factories: dict[str, _Factory] = {}

    def factory(self, use: str, where: str) -> _Factory:
        """The factory of the handler ``use``. Raises SettingsError."""
        if use not in self._factories:
            self._factories[use] = _Factory(_imported(use, self._entry_point(use, where), where))
        return self._factories[use]

    def _entry_point(self, use: str, where: str) -> EntryPoint:
        points = {point.value: point for point in self._points if point.name == use}
        if len(points) > 1:
            raise SettingsError(
                f"{where}: several packages provide a handler {use!r}: {', '.join(sorted(points))}; "
                "uninstall all but one"
            )
        if not points:
            raise SettingsError(_unknown(use, where))
        return next(iter(points.values()))


class _Factory:
    """The callable of an entry point, which makes handlers."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The options that it takes, by name."""
        parameters = inspect.signature(self.make, eval_str=True).parameters
        variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        return {name: parameter for name, parameter in parameters.items() if parameter.kind not in variadic}

    @cached_property
    def options_type(self) -> TypeAdapter[Any]:
        """A TypedDict of its keywords: unlike a model, it has no attributes for options to shadow."""
        make: Any = TypedDict  # the type checker knows literal TypedDicts only
        options = make("Options", {name: _field(parameter) for name, parameter in self.parameters.items()})
        kinds = {parameter.kind for parameter in inspect.signature(self.make).parameters.values()}
        options.__pydantic_config__ = ConfigDict(
            extra="allow" if inspect.Parameter.VAR_KEYWORD in kinds else "forbid",
            arbitrary_types_allowed=True,
        )
        return TypeAdapter(options)


def available() -> Mapping[str, EntryPoint]:
    """Every installed handler by name, sorted. Imports none of them."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    return {name: found[name] for name in sorted(found)}


def load(use: str, options: Mapping[str, Any], *, where: str, installed: Installed | None = None) -> Handler:
    """Build the handler ``use`` with these options; share ``installed`` among the calls to build many.

    ``where`` is the place in the settings, such as ``routes.captions.handlers[0]``. Raises SettingsError, and
    nothing else, whatever the plug-in does wrong.
    """
    factory = (installed or Installed()).factory(use, where)
    return _build(factory, options, f"{where}: handler {use!r}")


def build(make: Callable[..., Any], options: Mapping[str, Any], *, where: str) -> Handler:
    """The same with a factory that need not be installed."""
    return _build(_Factory(make), options, f"{where}: handler {getattr(make, '__name__', '')!r}")


def _build(factory: _Factory, options: Mapping[str, Any], subject: str) -> Handler:
    with _refusals(subject):
        handler = factory.make(**_checked(factory, options))
    if not callable(handler):
        raise SettingsError(f"{subject} is broken: its factory returned {handler!r}, which is not callable")
    return cast(Handler, handler)


def options_of(use: str) -> Mapping[str, inspect.Parameter]:
    """The options that a handler takes, by name. Raises SettingsError."""
    factory = Installed().factory(use, "handlers")
    with _refusals(f"handler {use!r}"):
        return factory.parameters


def _imported(use: str, point: EntryPoint, where: str) -> Callable[..., Any]:
    try:
        factory = point.load()
    # A third-party module may raise anything while it is imported.
    except Exception as error:
        raise SettingsError(
            f"{where}: handler {use!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(factory):
        raise SettingsError(f"{where}: handler {use!r} is broken: {point.value} is not callable")
    return cast(Callable[..., Any], factory)


def _unknown(use: str, where: str) -> str:
    names = list(available())
    near = difflib.get_close_matches(use, names, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{where}: use = {use!r} is not an installed handler{guess}; available: {', '.join(names)}; {_INSTALL}"


@contextmanager
def _refusals(subject: str) -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"{subject}: {error}") from error
    except (ValueError, OSError, ListenerError) as error:
        raise SettingsError(f"{subject} could not be created: {_in_words(error)}") from error
    except Exception as error:
        raise SettingsError(f"{subject} failed to start: {type(error).__name__}: {error}") from error


def _in_words(error: Exception) -> str:
    """Without the number of an error of the system."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _checked(factory: _Factory, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options converted to the types of the factory's annotations; one SettingsError names all problems."""
    try:
        checked: dict[str, Any] = factory.options_type.validate_python(dict(options))
    except ValidationError as error:
        known = ", ".join(factory.parameters) or "none"
        problems = "; ".join(_problem(detail, known) for detail in error.errors(include_url=False))
        raise SettingsError(problems) from error
    return {name: located(value, options.get(name)) for name, value in checked.items()}


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
        return broken_rule(f"{key} = {toml_text(detail['input'])}", detail["input"], rule_of(detail))
    # The message of a validator may quote the value, the other rules do not.
    rule = "not valid" if detail["type"] in ("value_error", "assertion_error") else rule_of(detail)
    return f"{key} (value not shown): {rule}"
