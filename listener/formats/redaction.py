"""Masks what a message body says about its sender, and keeps what matters to the decoder: syntax, names and states."""

from __future__ import annotations

import base64
import re
from typing import Final

from listener.formats.callback import MAX_WRAPPINGS
from listener.formats.states import KNOWN_STATES

#: Members and values that MPS, MNS, IMS and VOD define, and words of JSON and XML.
_NAMES: Final = """
activities activitylist activityresults amp apos bucket canceled cancelled cdata code completed details doctype
encoding endtime errorcode errormessage eventtime eventtype execution extend failed false finished functionname gt
imageid infinity input inputfile iproduction jobid jobids location lt mediaid mediaworkflowexecution mediaworkflowid
message messagebody messageid messagemd5 messagepublishtime msg name nan notification notify null object output outputs
parameters parentjobid pipelineid priority publishtime quot report requestid result results runid start starttime state
status subscriber subscriptionname success taskid topicname topicowner transcode transcodecanceled transcodecancelled
transcodefail transcodesuccess true type userdata userid utf version videoid xml xmlns
"""
#: Words that stay as they are, in any case.
_KEPT: Final = frozenset(_NAMES.split()) | frozenset(state.lower() for state in KNOWN_STATES)
#: A document in a string of another one has several backslashes before what they escape.
_TOKEN: Final = re.compile(
    r"(?P<declaration><\?xml\b[^>]*\?>)"
    r"|(?P<escape>\\+(?:u[0-9a-fA-F]{4}|.))"
    r"|(?P<wrapped>[A-Za-z0-9+/]{16,}={0,2})"
    r"|[^\W_]+",
    re.DOTALL,
)
_WORD: Final = re.compile(r"[^\W_]+")
#: An escape that is more than a letter: not a control character, nor one of a surrogate pair.
_ESCAPED_LETTER: Final = re.compile(r"(\\+u)(?!00[01]|[dD][89a-fA-F])....")


def redacted(body: str) -> str:
    """The body with its letters and digits masked, also within base64, except for words that MPS defines.

    The length and all other characters stay, so that it fails to decode for the same reason in most cases.
    """
    return _redacted(body, MAX_WRAPPINGS)


def masked(text: str) -> str:
    """The text with all its letters and digits masked; the length and all other characters stay."""
    return "".join(_masked(character) if character.isalnum() else character for character in text)


def _redacted(text: str, wrappings: int) -> str:
    return _TOKEN.sub(lambda found: _token(found, wrappings), text)


def _token(found: re.Match[str], wrappings: int) -> str:
    if found["declaration"]:
        return found[0]
    if found["escape"]:
        return _ESCAPED_LETTER.sub(r"\g<1>00e9", found[0])
    if found["wrapped"] and wrappings and (inner := _document(found[0])):
        return base64.b64encode(_redacted(inner, wrappings - 1).encode()).decode()
    return _WORD.sub(_word, found[0])


def _word(found: re.Match[str]) -> str:
    return found[0] if found[0].lower() in _KEPT else "".join(map(_masked, found[0]))


def _document(text: str) -> str:
    """The document in this base64; empty if it contains none."""
    try:
        inner = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""
    return inner if inner.lstrip().startswith(("{", "[", "<")) else ""


def _masked(character: str) -> str:
    """A zero stays, since a number may not begin with one."""
    if not character.isascii():
        return "é"
    if character.isdigit():
        return "9" if character != "0" else "0"
    return "X" if character.isupper() else "x"
