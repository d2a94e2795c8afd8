"""Untrusted XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.formats import safe_xml

NAMESPACES = [
    pytest.param("", id="none"),
    pytest.param(' xmlns="http://mns.aliyuncs.com/doc/v1"', id="as-the-server-writes-it"),
    pytest.param(' xmlns="http://mns.aliyuncs.com/doc/v1/"', id="as-the-documents-write-it"),
    pytest.param(' xlmns="http://mns.aliyuncs.com/doc/v1/"', id="with-the-documents-slip"),
]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_names_read_the_same_in_every_namespace(namespace: str) -> None:
    root = safe_xml.parse(f"<Message{namespace}>\r  <MessageId>A1</MessageId>\r  <Empty/></Message>")

    assert safe_xml.local(root.tag) == "Message"
    assert safe_xml.children_text(root) == {"MessageId": "A1", "Empty": ""}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_bytes_are_read_in_the_encoding_they_declare(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><a><b>é</b></a>'

    assert safe_xml.children_text(safe_xml.parse(text.encode(encoding))) == {"b": "é"}


BOMB = (
    '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
    "<lolz>&c;</lolz>"
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BOMB, id="entities-in-entities"),
        pytest.param(BOMB.encode("utf-16"), id="entities-in-another-encoding"),
        pytest.param('<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>', id="external-document-type"),
        pytest.param('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>', id="file-entity"),
    ],
)
def test_document_types_are_refused(text: str | bytes) -> None:
    with pytest.raises(safe_xml.BadXml, match="document type"):
        safe_xml.parse(text)


@pytest.mark.parametrize(
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


@given(st.one_of(st.text(), st.binary(), st.text().map("<a>{}</a>".format)))
def test_no_input_raises_anything_but_bad_xml(text: str | bytes) -> None:
    try:
        tag = safe_xml.parse(text).tag
    except safe_xml.BadXml:
        tag = "refused"

    assert tag
