"""Untrusted XML."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.formats import safe_xml
from tests.support.cases import each_case

NAMESPACES = [
    pytest.param("", id="none"),
    pytest.param(' xmlns="http://mns.aliyuncs.com/doc/v1"', id="as-the-server-writes-it"),
    pytest.param(' xmlns="http://mns.aliyuncs.com/doc/v1/"', id="as-the-documents-write-it"),
    pytest.param(' xlmns="http://mns.aliyuncs.com/doc/v1/"', id="with-the-documents-slip"),
]


@each_case("namespace", NAMESPACES)
def test_names_read_the_same_in_every_namespace(namespace: str) -> None:
    root = safe_xml.parse(f"<Message{namespace}>\r  <MessageId>A1</MessageId>\r  <Empty/></Message>")

    assert safe_xml.local(root.tag) == "Message"
    assert safe_xml.children_text(root) == {"MessageId": "A1", "Empty": ""}


@each_case("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_bytes_are_read_in_the_encoding_they_declare(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><a><b>é</b></a>'

    assert safe_xml.children_text(safe_xml.parse(text.encode(encoding))) == {"b": "é"}


BOMB = (
    '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
    "<lolz>&c;</lolz>"
)


@each_case(
    "text",
    [
        pytest.param(BOMB, id="entities-in-entities"),
        pytest.param(BOMB.encode("utf-16"), id="entities-in-another-encoding"),
        pytest.param(BOMB.encode("utf-16-be"), id="without-a-byte-order-mark"),
        pytest.param(f'<?xml version="1.0" encoding="cp1252"?>{BOMB}'.encode("cp1252"), id="of-eight-bits"),
        pytest.param('<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>', id="external-document-type"),
        pytest.param('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>', id="file-entity"),
    ],
)
def test_document_types_are_refused(text: str | bytes) -> None:
    with pytest.raises(safe_xml.BadXml, match="document type"):
        safe_xml.parse(text)


@each_case(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("<a>", id="not-closed"),
        pytest.param("<a/><b/>", id="two-roots"),
        pytest.param("<a>&unknown;</a>", id="unknown-entity"),
        pytest.param("<a>\0</a>", id="nul"),
        pytest.param("<a>&#0;</a>", id="nul-by-number"),
        pytest.param("<a>\ud800</a>", id="lone-surrogate"),
        pytest.param(b"<a>\xff</a>", id="not-utf-8"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><a/>', id="unknown-encoding"),
    ],
)
def test_what_is_ill_formed_is_refused(text: str | bytes) -> None:
    with pytest.raises(safe_xml.BadXml, match="not well-formed"):
        safe_xml.parse(text)


def test_a_document_of_very_many_elements_is_refused() -> None:
    assert len(safe_xml.parse(f"<a>{'<b/>' * (safe_xml.MAX_ELEMENTS - 1)}</a>")) == safe_xml.MAX_ELEMENTS - 1
    with pytest.raises(safe_xml.BadXml, match="more than 5000 elements"):
        safe_xml.parse(f"<a>{'<b/>' * safe_xml.MAX_ELEMENTS}</a>")


@pytest.mark.parametrize("encoding", ["cp037", "cp424", "utf-7", "utf-32", "utf-16-le"])
def test_no_encoding_hides_a_document_type(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    for body in ((declared + BOMB).encode(encoding), declared.encode() + BOMB.encode(encoding)):
        with pytest.raises(safe_xml.BadXml):
            safe_xml.parse(body)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1", "cp1252", "cp037", "utf-7"])
def test_no_encoding_hides_that_there_are_very_many_elements(encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?><a>{"<b/>" * safe_xml.MAX_ELEMENTS}</a>'
    hidden = document.partition("?>")
    for body in (document.encode(encoding), f"{hidden[0]}?>".encode() + hidden[2].encode(encoding)):
        with pytest.raises(safe_xml.BadXml):
            safe_xml.parse(body)


@each_case(
    ("text", "plain"),
    [
        pytest.param("a &lt; b &amp;&amp; c &gt; &quot;d&apos;", "a < b && c > \"d'", id="named"),
        pytest.param("&#65;&#x42;&#x1F600;", "AB\U0001f600", id="numbers"),
        pytest.param("&amp;lt;", "&lt;", id="only-once"),
        pytest.param("?a=1&copy=2&notit &lt &#65", "?a=1&copy=2&notit &lt &#65", id="no-references-of-xml"),
        pytest.param("&#x110000;&#9999999;", "&#x110000;&#9999999;", id="no-characters"),
        pytest.param(f"&#{'9' * 5000};", f"&#{'9' * 5000};", id="thousands-of-digits"),
    ],
)
def test_references_are_resolved_in_text_that_is_no_xml(text: str, plain: str) -> None:
    assert safe_xml.unescape(text) == plain


@given(st.text().map(escape))
def test_escaped_text_is_unescaped(text: str) -> None:
    assert escape(safe_xml.unescape(text)) == text


@given(st.one_of(st.text(), st.binary(), st.text().map("<a>{}</a>".format)))
def test_no_input_raises_anything_but_bad_xml(text: str | bytes) -> None:
    try:
        tag = safe_xml.parse(text).tag
    except safe_xml.BadXml:
        tag = "refused"

    assert tag
