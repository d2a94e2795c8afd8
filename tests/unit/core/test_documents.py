"""Values become documents and are read back, by their fields alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from listener.core.documents import from_plain, to_plain

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    name: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    leaves: tuple[Leaf, ...] = ()
    best: Leaf | None = None
    numbers: tuple[float, ...] = ()
    whatever: tuple[Any, ...] = ()
    members: Mapping[str, Any] = field(default_factory=dict)


TREE = Tree(
    leaves=(Leaf(name="a", at=NOON), Leaf(name="b")),
    best=Leaf(name="a"),
    numbers=(0.5, 1.0),
    whatever=({"leaves": [1]}, None, "x"),
    members={"name": [None]},
)


def test_a_value_is_read_back_as_it_was() -> None:
    document = json.loads(json.dumps(to_plain(TREE)))

    assert from_plain(Tree, document) == TREE
    assert from_plain(Tree, to_plain(Tree())) == Tree()


def test_members_are_in_field_order_at_every_level() -> None:
    plain = to_plain(TREE)

    assert list(plain) == ["leaves", "best", "numbers", "whatever", "members"]
    assert list(plain["leaves"][0]) == ["name", "at"]


def test_times_are_in_utc() -> None:
    leaf = Leaf(name="a", at=NOON.astimezone(timezone(timedelta(hours=8))))

    assert to_plain(leaf)["at"] == "2026-05-01T12:00:00+00:00"


def test_unknown_members_are_ignored_at_every_level_and_missing_ones_have_their_defaults() -> None:
    assert from_plain(Tree, {"leaves": [{"name": "a", "new": 1}], "new": 1}) == Tree(leaves=(Leaf(name="a"),))
