"""Nouns with their numbers."""

from __future__ import annotations


def noun(count: int, plural: str) -> str:
    """The singular where there is one of them, else the plural as given; the last word is the noun."""
    if count != 1:
        return plural
    return f"{plural.removesuffix('ies')}y" if plural.endswith("ies") else plural.removesuffix("s")
