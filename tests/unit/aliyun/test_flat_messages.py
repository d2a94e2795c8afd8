"""Replies of plain messages are read as the XML parser reads them, and all others are left to it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.aliyun import flat_messages
from listener.formats import safe_xml
from tests.support.builders import a_callback, wrapped
from tests.support.cases import each_case
from tests.support.growth import assert_linear

HEAD: Final = '<?xml version="1.0" ?>\n<Messages xmlns="http://mns.aliyuncs.com/doc/v1">\n'
TAIL: Final = "</Messages>"
#: In the order of a capture of the service.
FIELDS: Final = {
    "MessageId": "0909FF0D9C3A630C372B8A14BD2011B6",
    "MessageBodyMD5": "9D75198CAA17528AB23790C1861987AF",
    "MessageBody": "",
    "ReceiptHandle": "8-0zxjHBaWtzPz8zphz0z6OGz5yWWidU1fJM",
    "EnqueueTime": "1716809414944",
    "FirstDequeueTime": "1716809420986",
    "NextVisibleTime": "1716809470986",
    "DequeueCount": "1",
    "Priority": "10",
}


def a_message(body: str = "", fields: Mapping[str, str] = FIELDS) -> str:
    """The element of a message; the body is markup."""
    lines = (f"    <{name}>{text or body}</{name}>\n" for name, text in fields.items())
    return f"  <Message>\n{''.join(lines)}  </Message>\n"


def parsed(reply: bytes) -> Sequence[dict[str, str]] | None:
    """What the XML parser finds; None for what is not a list of messages."""
    try:
        root = safe_xml.parse(reply)
    except safe_xml.BadXml:
        return None
    if safe_xml.local(root.tag) != "Messages":
        return None
    return [safe_xml.children_text(each) for each in root if safe_xml.local(each.tag) == "Message"]


@each_case(
    "body",
    [
        pytest.param(wrapped(a_callback()), id="base64"),
        pytest.param(a_callback(), id="json"),
        pytest.param(html.escape(a_callback()), id="json-with-references"),
        pytest.param("&lt;a&gt; &quot;b&quot; &apos;c&apos; &amp;lt; &amp;quot; &amp;amp;", id="references"),
        pytest.param(" é 中 💥 \x7f\x85\u2028\ufffd ", id="characters"),
        pytest.param("a\r\nb\rc\nd\r\r\n\te", id="line-breaks"),
        pytest.param("]]] = ;#", id="no-markup"),
    ],
)
@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", ""])
def test_plain_messages_are_read_as_the_parser_reads_them(body: str, line_break: str) -> None:
    reply = f"{HEAD}{a_message(body) * 15}{a_message()}{TAIL}\n".replace("\n", line_break).encode()

    found = flat_messages.read(reply)

    assert found is not None
    assert (len(found), list(found[0])) == (16, list(FIELDS))
    assert found == parsed(reply)


@each_case(
    "head",
    [
        pytest.param("<Messages>", id="bare"),
        pytest.param(" \n<Messages>\n", id="blanks"),
        pytest.param(
            '<?xml version="1.0"?><Messages xmlns="http://mns.aliyuncs.com/doc/v1/">', id="documented"
        ),
        pytest.param('<?xml version="1.0" encoding="UTF-8"?>\n<Messages>', id="upper-case"),
        pytest.param('<?xml version="1.0" encoding="utf-8" ?>\n<Messages>', id="lower-case"),
    ],
)
def test_every_head_that_the_service_may_write_is_read(head: str) -> None:
    reply = f"{head}{a_message('body')}{TAIL}".encode()

    found = flat_messages.read(reply)

    assert found == parsed(reply)
    assert found == [FIELDS | {"MessageBody": "body"}]


@each_case(
    "reply",
    [
        pytest.param(HEAD + TAIL, id="no-message"),
        pytest.param(HEAD + a_message() * 17 + TAIL, id="more-than-a-batch"),
        pytest.param(HEAD + a_message(fields=FIELDS | {"MessageGroupId": "g"}) + TAIL, id="ten-fields"),
        pytest.param(HEAD + a_message("<a>b</a>") + TAIL, id="nested"),
        pytest.param(HEAD + a_message("a > b") + TAIL, id="bare-bracket"),
        pytest.param(HEAD + a_message("&#13;&#x41;") + TAIL, id="numeric-references"),
        pytest.param(HEAD + a_message("<![CDATA[a]]>") + TAIL, id="cdata"),
        pytest.param(HEAD + a_message("<!-- a -->") + TAIL, id="comment"),
        pytest.param(HEAD + a_message("<?a b?>") + TAIL, id="instruction"),
        pytest.param("\ufeff" + HEAD + a_message() + TAIL, id="byte-order-mark"),
        pytest.param(HEAD.replace("v1", "v2") + a_message() + TAIL, id="other-namespace"),
        pytest.param(HEAD + a_message().replace("<Message>", '<Message a="b">') + TAIL, id="attribute"),
        pytest.param(HEAD + a_message() + "text" + a_message() + TAIL, id="text-between"),
    ],
)
def test_what_else_the_parser_reads_is_left_to_it(reply: str) -> None:
    assert parsed(reply.encode()) is not None
    assert flat_messages.read(reply.encode()) is None


@each_case(
    "reply",
    [
        pytest.param(HEAD + a_message("a & b") + TAIL, id="ampersand"),
        pytest.param(HEAD + a_message("&quote;") + TAIL, id="unknown-reference"),
        pytest.param(HEAD + a_message("&am&quot;p;") + TAIL, id="reference-in-a-reference"),
        pytest.param(HEAD + a_message("a ]]> b") + TAIL, id="end-of-cdata"),
        pytest.param(HEAD + a_message("\0") + TAIL, id="nul"),
        pytest.param(HEAD + a_message("\x1f") + TAIL, id="control-character"),
        pytest.param(HEAD + a_message("\ufffe") + TAIL, id="u+fffe"),
        pytest.param(HEAD + a_message("\uffff") + TAIL, id="u+ffff"),
        pytest.param(HEAD + a_message("\udcff") + TAIL, id="no-utf-8"),
        pytest.param(HEAD + a_message() + "&amp;" + TAIL + "&amp;", id="text-after-the-end"),
        pytest.param(HEAD + a_message() + TAIL + TAIL, id="two-ends"),
        pytest.param(HEAD + a_message(), id="no-end"),
        pytest.param("\n" + HEAD + a_message() + TAIL, id="blank-before-the-declaration"),
        pytest.param(HEAD.replace('"', "&quot;") + a_message() + TAIL, id="quoted-by-references"),
        pytest.param(HEAD + a_message().replace("</MessageId>", "</MessageID>") + TAIL, id="other-end-tag"),
        pytest.param(HEAD + a_message(fields={"9": "", **FIELDS}) + TAIL, id="no-name"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_ill_formed_is_left_to_the_parser(reply: str) -> None:
    encoded = reply.encode("utf-8", "surrogateescape")

    assert parsed(encoded) is None
    assert flat_messages.read(encoded) is None


MARKUP: Final = (
    *(
        "&",
        "&a;",
        "&quot",
        "&amp;lt;",
        "&#0;",
        "&#65;",
        "&#x1F600;",
        "]]>",
        "]]",
        ">",
        "<",
        "</",
        "<a>",
        "</a>",
    ),
    *(
        "<!--",
        "-->",
        "<!DOCTYPE a>",
        "<![CDATA[",
        "<?",
        "?>",
        "\0",
        "\x0b",
        "\x1f",
        "\x7f",
        "\ufffe",
        "\uffff",
    ),
    *(
        "\U0001fffe",
        "\U0010ffff",
        "\ufeff",
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        "\x85",
        "\u2028",
        "\u3000",
        "/",
        "'",
        '"',
    ),
    *(
        "&quot;",
        "&apos;",
        "xmlns:a='b'",
        ' xmlns="http://mns.aliyuncs.com/doc/v1"',
        "<Message>",
        "</Message>",
    ),
    *(
        "</Messages>",
        "<Messages>",
        "MessageId",
        "<Priority>",
        "</Priority>",
        "<Priority>9</Priority>",
        a_message(),
    ),
)
BYTES: Final = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8", b"\x80")
#: Likely and unlikely text, as it is and with references.
TEXTS: Final = st.one_of(
    st.text(max_size=8),
    st.text(max_size=8).map(escape),
    st.text(max_size=8).map(html.escape),
    st.lists(st.sampled_from(MARKUP), max_size=3).map("".join),
)
CHANGES: Final = st.lists(
    st.tuples(
        st.integers(min_value=0),
        st.integers(min_value=0, max_value=9),
        st.one_of(st.sampled_from(MARKUP).map(str.encode), st.sampled_from(BYTES), st.just(b"")),
    ),
    max_size=2,
)


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """Messages with fields in any order and any text in two of them, after a few changes anywhere."""
    names = [*draw(st.permutations(list(FIELDS)))[1:], draw(st.sampled_from([*FIELDS, "Message", "A1"]))]
    first, second = draw(TEXTS), draw(TEXTS)
    fields = dict.fromkeys(range(9), "1") | {draw(st.integers(0, 8)): first, draw(st.integers(0, 8)): second}
    lines = "".join(f"<{names[place]}>{text}</{names[place]}>\n" for place, text in fields.items())
    message = f"<Message>\n{lines}</Message>"
    reply = f"{HEAD}{message * draw(st.integers(1, 2))}{TAIL}".encode("utf-8", "replace")
    for place, removed, inserted in draw(CHANGES):
        at = place % len(reply)
        reply = reply[:at] + inserted + reply[at + removed :]
    return reply


@given(replies())
def test_no_reply_is_read_otherwise_than_by_the_parser(reply: bytes) -> None:
    found = flat_messages.read(reply)

    assert found is None or found == parsed(reply)


@pytest.mark.parametrize(
    "piece",
    [
        "<Message>",
        "<Message><A></A>",
        "<Message> ",
        " \r\n",
        "<Message><A>",
        "&quot;",
        "&amp;",
        "<A",
        "x",
        a_message(),
    ],
)
@pytest.mark.parametrize("head", ["", HEAD, f"{HEAD}<Message><A>"])
def test_time_grows_with_the_size_of_a_reply_and_not_with_its_square(head: str, piece: str) -> None:
    assert_linear(
        lambda text: flat_messages.read(text.encode()),
        lambda size: head + piece * (size // len(piece)) + TAIL,
    )
