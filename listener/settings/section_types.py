"""Finds the section in the annotation of a setting."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def section_of(annotation: Any) -> Any:
    """The section inside an annotation such as ``tuple[RouteSettings, ...]`` or ``RetrySettings | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        found
        for argument in getattr(annotation, "__args__", ())
        if argument is not Ellipsis and (found := section_or_none(argument))
    )


def section_or_none(annotation: Any) -> Any:
    try:
        return section_of(annotation)
    except StopIteration:
        return None
