from __future__ import annotations

import pytest

from listener.formats.nouns import noun


@pytest.mark.parametrize(
    ("count", "plural", "words"),
    [
        (0, "dead letters", "dead letters"),
        (1, "dead letters", "dead letter"),
        (1, "pending deliveries", "pending delivery"),
        (2, "pending deliveries", "pending deliveries"),
    ],
)
def test_one_of_them_is_in_the_singular(count: int, plural: str, words: str) -> None:
    assert noun(count, plural) == words
