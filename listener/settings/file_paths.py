"""Relative paths in a settings file: they are relative to the folder of that file, wherever a command is started.

Those from environment variables and options of the command line are relative to the working directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from listener.core.errors import SettingsError
from listener.settings.sections import StoreSettings

#: A SQLite URL with a relative path: what precedes the path, the path, and the options after it.
_RELATIVE_SQLITE: Final = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:)([^?]+)(.*)", re.DOTALL)
_UNIX: Final = "unix:"
#: Keys of a handler that are not options of it.
_NO_OPTIONS: Final = ("use", "name")


class TextInFile(str):
    """An option of a handler in a settings file. Whether it is a path is known only when the handler is built."""

    folder: Path  #: that of the settings file

    @classmethod
    def of(cls, text: str, folder: Path) -> TextInFile:
        made = cls(text)
        made.folder = folder
        return made


def located(value: Any, given: object) -> Any:
    """The value of a handler's option that was ``given`` in the settings; a relative path becomes an absolute one."""
    return given.folder / value if isinstance(value, Path) and isinstance(given, TextInFile) else value


def file_named(given: object) -> str:
    """The file that an option given in the settings names."""
    return str(located(Path(str(given)), given))


def anchored(document: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A copy of the document of a settings file in ``folder``, whose paths do not depend on the working directory.

    The default of ``store.url`` is such a path, too. Values of wrong types are left for the validation to refuse.
    """
    result: Any = {"store": {}} | dict(document)
    if isinstance(result["store"], dict):
        result["store"] = {"url": StoreSettings.model_fields["url"].default} | result["store"]
    for path, change in (
        (("store", "url"), _database_url),
        (("http", "listen"), _listen),
        (("http", "token_file"), _path),
        (("credentials", "*"), _path),
        (("tenants", "*", "credentials", "*"), _path),
    ):
        result = _changed(result, path, partial(_of_text, change, folder))
    return dict(_changed(result, ("routes", "*", "handlers", "*"), partial(_options, folder)))


def _changed(value: Any, path: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """A copy with a changed value at this path, as far as it exists; ``*`` stands for every key or item."""
    if not path:
        return change(value)
    key, *rest = path
    if isinstance(value, dict):
        return value | {name: _changed(value[name], rest, change) for name in value if key in ("*", name)}
    if isinstance(value, list) and key == "*":
        return [_changed(item, rest, change) for item in value]
    return value


def _of_text(change: Callable[[Path, str], str], folder: Path, value: Any) -> Any:
    return change(folder, value) if isinstance(value, str) else value


def _options(folder: Path, handler: Any) -> Any:
    if not isinstance(handler, dict):
        return handler
    return {
        name: TextInFile.of(value, folder) if isinstance(value, str) and name not in _NO_OPTIONS else value
        for name, value in handler.items()
    }


def _path(folder: Path, text: str) -> str:
    return str(folder / text)


def _listen(folder: Path, text: str) -> str:
    path = text.removeprefix(_UNIX)
    return f"{_UNIX}{folder / path}" if text.startswith(_UNIX) and path else text


def _database_url(folder: Path, text: str) -> str:
    relative = _RELATIVE_SQLITE.fullmatch(text)
    if relative is None:
        return text
    if "?" in str(folder):
        raise SettingsError(
            f"store.url = {text!r} is relative to {str(folder)!r}, and a URL cannot contain the ? of that folder; "
            "set store.url to a path in another folder, e.g. sqlite:////var/lib/mns-listener/listener.db"
        )
    prefix, path, options = relative.groups()
    return f"{prefix}{folder / path}{options}"
