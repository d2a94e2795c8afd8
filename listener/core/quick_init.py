"""Frozen values with many fields that are made for each callback, in a fraction of the time.

The ``__init__`` of a frozen dataclass calls ``object.__setattr__`` for each field. This one assigns the fields while
the new object, which only it knows, is of a class that is not frozen. Where values are made for each callback, a
function is twice as fast again (``maker``), and whoever has the values of all fields in a row needs no keywords
(``from_values``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from functools import update_wrapper
from typing import Any, Final, ParamSpec, TypeVar, cast

Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

#: The default of a field that has a factory.
_NEW: Final = object()


def quick_init(cls: type[Value]) -> type[Value]:
    """Give a frozen dataclass with slots the faster ``__init__``; it must not be subclassed.

    Raises TypeError if it has fields that are no parameters.
    """
    given = _fields_of(cls)
    lines = [
        "_set_attribute(self, '__class__', _open)",
        *_assignments("self", given),
        *_frozen("self", cls),
    ]
    untyped = cast(Any, cls)
    init = _function("__init__", ["self", *_parameters(given)], lines, _names(cls, given))
    untyped.__init__ = update_wrapper(init, untyped.__init__)
    return cls


def maker(cls: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """A function that makes such a value of the same arguments as the class, in half the time.

    To call a class, Python puts all keywords into a dictionary first.
    """
    given = _fields_of(cls)
    lines = ["_made = _open()", *_assignments("_made", given), *_frozen("_made", cls), "return _made"]
    make = _function("make", _parameters(given), lines, _names(cls, given))
    return cast(Callable[Parameters, Value], make)


def from_values(cls: type[Value]) -> Callable[[Sequence[Any]], Value]:
    """A function that makes such a value of the values of all its fields, in their order.

    It takes a seventh of the time of ``cls(**dict(zip(names, values)))``.
    """
    given = _fields_of(cls)
    unpacked = f"[{', '.join(f'_made.{each.name}' for each in given)}] = values"
    lines = ["_made = _open()", unpacked, *_frozen("_made", cls), "return _made"]
    return cast(Callable[[Sequence[Any]], Value], _function("make", ["values"], lines, _names(cls, given)))


def _fields_of(cls: Any) -> Sequence[Field[Any]]:
    given = fields(cls)
    if not all(each.init for each in given):
        raise TypeError(f"{cls.__name__} has fields that are no parameters")
    return given


def _function(name: str, parameters: Sequence[str], lines: Sequence[str], names: dict[str, Any]) -> Any:
    """As dataclasses do it: only code with the names of the fields is as fast as if it was written by hand."""
    source = "\n    ".join([f"def {name}({', '.join(parameters)}):", *lines])
    exec(source, names)  # noqa: S102  # the fastest way to fill fields; only of names in our own code, never of input
    return names[name]


def _names(cls: Any, given: Sequence[Field[Any]]) -> dict[str, Any]:
    """What the source refers to: the class, one of the same layout that is not frozen, and the defaults."""
    defaults = {
        f"_default_{each.name}": each.default if each.default_factory is MISSING else each.default_factory
        for each in given
    }
    slots = {"__slots__": tuple(each.name for each in given)} if "__slots__" in vars(cls) else {}
    return {
        "_new": _NEW,
        "_set_attribute": object.__setattr__,
        "_frozen": cls,
        "_open": type(cls.__name__, (), slots),
        **defaults,
    }


def _parameters(given: Sequence[Field[Any]]) -> Sequence[str]:
    positional = [_parameter(each) for each in given if not each.kw_only]
    keyword_only = [_parameter(each) for each in given if each.kw_only]
    return [*positional, *(["*", *keyword_only] if keyword_only else [])]


def _assignments(target: str, given: Sequence[Field[Any]]) -> Iterator[str]:
    return (f"{target}.{each.name} = {_value(each)}" for each in given)


def _frozen(target: str, cls: Any) -> Sequence[str]:
    """The end of it: from now on the value is what its class says."""
    return [
        f"{target}.__class__ = _frozen",
        *([f"{target}.__post_init__()"] if hasattr(cls, "__post_init__") else []),
    ]


def _parameter(each: Field[Any]) -> str:
    if each.default_factory is not MISSING:
        return f"{each.name}=_new"
    return each.name if each.default is MISSING else f"{each.name}=_default_{each.name}"


def _value(each: Field[Any]) -> str:
    if each.default_factory is MISSING:
        return each.name
    return f"_default_{each.name}() if {each.name} is _new else {each.name}"
