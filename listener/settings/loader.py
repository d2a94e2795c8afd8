"""Loads settings from a file and the environment of this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from listener.core.errors import SettingsError
from listener.formats.toml_text import parse_toml
from listener.settings import env_overlay
from listener.settings.explain import explain
from listener.settings.file_paths import anchored
from listener.settings.origins import Origins
from listener.settings.sections import Settings

DEFAULT_CONFIG = Path("listener.toml")


def settings_from(path: Path | str | None = None) -> Settings:
    """Settings from a file and the environment. Without a path, ./listener.toml is read if it exists.

    Relative paths in the file are relative to its folder. Raises SettingsError.
    """
    found = Path(path) if path else DEFAULT_CONFIG
    if path is None and not found.exists():
        return load("", os.environ, source="environment")
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        raise SettingsError(f"cannot read the settings file {str(found)!r}: {reason}") from error
    return load(text, os.environ, source=str(found), folder=found.absolute().parent)


def load(
    text: str, environ: Mapping[str, str], *, source: str = "settings", folder: Path | None = None
) -> Settings:
    """Settings from TOML text and the environment, which takes precedence. ``source`` names the file in errors.

    Relative paths in the text are relative to ``folder``, by default the working directory. Raises SettingsError, with
    a line for every invalid key, its value and the rule.
    """
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise SettingsError(f"{source} is not valid TOML: {error}") from error
    overlay = env_overlay.overlay(anchored(document, folder) if folder else document, environ)
    settings, problems = _validated(overlay, Origins(source=source, document=document, overlay=overlay))
    if settings is None or overlay.problems:
        raise SettingsError(*overlay.problems, *problems)
    return settings


def _validated(overlay: env_overlay.Overlay, origins: Origins) -> tuple[Settings | None, list[str]]:
    """The settings, or what is wrong with them."""
    try:
        return Settings.model_validate(overlay.document), []
    except ValidationError as error:
        return None, [explain(detail, origins, Settings) for detail in error.errors(include_url=False)]
