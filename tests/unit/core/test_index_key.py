"""Keys are what they always were, unless an index cannot hold them."""

from __future__ import annotations

import pytest

from listener.core.index_key import MAX_BYTES, index_key
from tests.support.builders import a_result
from tests.support.cases import each_case

WIDE = "\U0001f3ac"
#: The SHA-256 of the key in the last test.
DIGEST = "5b39e3c5048d48f6be612f1d81defa74fc47a881584f38c725e60b8a626bbdee"


@each_case(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * MAX_BYTES, id="ascii"),
        pytest.param(WIDE * 256, id="longest-id"),
    ],
)
def test_what_an_index_can_hold_is_unchanged(text: str) -> None:
    assert index_key(text) == text


def test_longer_text_keeps_its_beginning_and_fits() -> None:
    key = index_key("run/" + WIDE * 600)

    assert key.startswith("run/" + WIDE)
    assert len(key.encode()) < MAX_BYTES


def test_texts_that_differ_in_their_last_character_have_different_keys() -> None:
    assert index_key("x" * 5000 + "1") != index_key("x" * 5000 + "2")


def test_a_key_stays_the_same_in_every_release() -> None:
    """Stored keys are compared with it."""
    key = a_result(job_id="", run_id="r" * 256, type=WIDE * 256, state=WIDE * 256).dedup_key

    assert key == "r" * 64 + "…sha256:" + DIGEST
