"""Which environment variables are settings, which have another purpose, and what a misspelled one was meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel

from listener.settings.section_types import section_or_none
from listener.settings.sections import Settings

PREFIX: Final = "MNS_LISTENER_"
#: Settings that may be given as a whole array.
ARRAYS: Final = ("queues", "routes")
#: Variables of the command line, and those that programs of the handler ``command`` get, which may be mns-listener.
_OTHERS: Final = frozenset(
    PREFIX + name for name in ("CONFIG", "TRACEBACK", "KEY", "JOB_ID", "STATE", "ATTEMPT", "ROUTE", "CALL")
)
#: What Kubernetes sets in every container of a namespace with a Service called mns-listener or mns-listener-….
_KUBERNETES: Final = re.compile(
    rf"{PREFIX}([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT: Final = re.compile(r"(tcp|udp|sctp)://")


def path_of(name: str) -> tuple[str, ...]:
    """The path of the setting that a variable names, e.g. ``("queues", "0", "url")``; empty if it names none."""
    path = tuple(name.removeprefix(PREFIX).lower().split("__"))
    return path if len(path) > 1 or path[0] in ARRAYS else ()


def is_other(name: str, value: str) -> bool:
    """Whether a variable that begins with our prefix has another purpose than settings."""
    if name in _OTHERS:
        return True
    return "__" not in name and bool(
        _KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and _KUBERNETES_PORT.match(value))
    )


def nearest(name: str) -> str:
    """The name of the setting that this was probably meant to be; empty if there is none like it."""
    known = {_reduced(candidate): candidate for candidate in setting_names()}
    found = difflib.get_close_matches(_reduced(name), known, n=1, cutoff=0.7)
    if not found:
        return ""
    indexes = iter(re.findall(r"(?<=_)\d+(?=_|$)", name))
    return re.sub(r"(?<=__)0(?=__|$)", lambda zero: next(indexes, zero[0]), known[found[0]])


def _reduced(name: str) -> str:
    """Without what is easily mistaken: the number of underscores, the index of an item."""
    return re.sub(r"_\d+(?=_|$)", "_0", re.sub("_+", "_", name.removeprefix(PREFIX).strip("_")))


@cache
def setting_names() -> tuple[str, ...]:
    """Those of all settings; ``0`` stands for any index, ``NAME`` for any tenant."""
    return tuple(_names_below(Settings, PREFIX))


def _names_below(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, field in model.model_fields.items():
        name = f"{prefix}{key.upper()}"
        section = section_or_none(field.annotation)
        if section is None:
            yield name
        else:
            yield from _names_below(section, f"{name}{_item(field.annotation)}__")


def _item(annotation: Any) -> str:
    """The part of the name for one item of a list or table of sections."""
    many = get_args(annotation)
    if many[-1:] == (Ellipsis,):
        return "__0"
    return "__NAME" if many[:1] == (str,) else ""
