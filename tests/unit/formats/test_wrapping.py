"""What is wrapped is unwrapped again by the decoder."""

from __future__ import annotations

from listener.formats.callback import decode
from listener.formats.wrapping import WRAPPINGS, wrapped
from tests.support.builders import NOON, a_callback
from tests.support.cases import each_case

AWKWARD = a_callback(UserData="<a>&\n字幕 \"'")


@each_case("how", WRAPPINGS)
def test_every_wrapping_is_removed_by_the_decoder(how: str) -> None:
    result = decode(wrapped(AWKWARD, how, at=NOON))

    assert (result.raw, result.user_data) == (AWKWARD, "<a>&\n字幕 \"'")
