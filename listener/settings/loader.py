"""Loads settings from a file and the environment of this process."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from listener.core.errors import SettingsError
from listener.settings import env_overlay
from listener.settings.explain import explain
from listener.settings.sections import Settings

DEFAULT_CONFIG = Path("listener.toml")


def settings_from(path: Path | str | None = None) -> Settings:
    """Settings from a file and the environment. Without a path, ./listener.toml is read if it exists.

    Raises SettingsError.
    """
    found = Path(path) if path else DEFAULT_CONFIG
    if path is None and not found.exists():
        return load("", os.environ, source="environment")
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        raise SettingsError(f"cannot read the settings file {str(found)!r}: {reason}") from error
    return load(text, os.environ, source=str(found))


def load(text: str, environ: Mapping[str, str], *, source: str = "settings") -> Settings:
    """Settings from TOML text and the environment, which takes precedence. ``source`` names the file in errors.

    Raises SettingsError, which names every invalid key with its value and the rule.
    """
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise SettingsError(f"{source} is not valid TOML: {error}") from error
    overlaid = env_overlay.overlay(document, environ)
    try:
        return Settings.model_validate(overlaid)
    except ValidationError as error:
        problems = [explain(detail, overlaid, Settings) for detail in error.errors(include_url=False)]
        raise SettingsError("\n".join(f"{source}: {problem}" for problem in problems)) from error
