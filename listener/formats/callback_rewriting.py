"""Changes recorded message bodies before they are sent elsewhere: without what is private, or about other jobs.

Both keep what routes look at: type, state, function, the members of the callback, the route that user data name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from listener.core.errors import Undecodable
from listener.formats import lenient_json, user_data
from listener.formats.callback import decode
from listener.formats.json_members import as_text
from listener.formats.redaction import masked, redacted
from listener.formats.wrapping import as_base64

_USER_DATA: Final = frozenset({"userdata", "extend"})
#: Members whose whole value is private.
_PRIVATE: Final = frozenset({"bucket", "userid", "aliyunid", "accountid", "topicowner"})
_OSS_HOST: Final = re.compile(r"[a-z0-9][a-z0-9-]+(?=\.oss-[a-z0-9-]+\.aliyuncs\.com)")
_OSS_BUCKET: Final = re.compile(r"(?<=oss://)[a-z0-9-]+(?=/)")
#: The id of an account in the host of MNS, in the name of a RAM role, or alone.
_ACCOUNT: Final = re.compile(r"\d+(?=\.mns\.)|(?<=::)\d{6,}(?=:)|(?<![0-9A-Za-z])\d{15,17}(?![0-9A-Za-z])")
#: The value of a parameter in the query of a URL, such as a signature.
_QUERY: Final = re.compile(r"""(?<=\?)[^\s"'#]+""")
#: In a pattern of ``fnmatch``.
_WILDCARD: Final = re.compile(r"\*|\?|\[.*?\]")
_VALUE: Final = re.compile(r"(?<==)[^&]+")

Special = Mapping[str, Callable[[Any], Any]]
"""What becomes of the whole value of some members, by their names in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What routes compare user data with, and what therefore stays of them."""

    values: Collection[str] = ()  #: the route that the user data name, and members of JSON user data
    patterns: Collection[str] = ()  #: for other text, of which the parts stay that are not wildcards


def without_private_data(body: str, *, kept: Kept = Kept()) -> str:
    """The callback in a message body as JSON: ids of accounts, buckets, queries of URLs and user data are masked.

    Ids of jobs and names of objects stay. A body that is no callback is masked altogether.
    """
    try:
        document = lenient_json.parse(decode(body).raw)
    except Undecodable:
        return redacted(body)

    def user_data_of(value: Any) -> Any:
        return None if value is None else _masked_user_data(as_text(value), kept)

    special: Special = {
        **dict.fromkeys(_USER_DATA, user_data_of),
        **dict.fromkeys(_PRIVATE, lambda value: _masked_value(value, Kept())),
    }
    return lenient_json.render(_rewritten(document, special, _without_addresses))


def with_other_ids(body: str, other: Callable[[str], str]) -> str:
    """The same callback about other jobs, as MPS sends it; ``other`` gives the id to use for each one in it.

    Our token is removed from its user data, since it names the job as well. A body that is no callback stays.
    """
    try:
        result = decode(body)
        document = lenient_json.parse(result.raw)
    except Undecodable:
        return body
    ids = {result.job_id, result.run_id, result.media_id, *result.activity_job_ids} - {""}

    def without_token(value: Any) -> Any:
        return user_data.extract_token(value)[0] or "" if isinstance(value, str) else value

    def about_other(value: Any) -> Any:
        text = as_text(value).strip()
        return other(text) if text in ids else value

    special = dict.fromkeys(_USER_DATA, without_token)
    return as_base64(lenient_json.render(_rewritten(document, special, about_other)))


def _rewritten(value: Any, special: Special, plain: Callable[[Any], Any], name: str = "") -> Any:
    """A document whose special members and plain values were changed, at every level and within JSON in strings."""
    if name in special:
        return special[name](value)
    if isinstance(value, dict):
        return {key: _rewritten(member, special, plain, key.strip().lower()) for key, member in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, special, plain) for item in value]
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return lenient_json.render(_rewritten(lenient_json.parse(value), special, plain))
        except lenient_json.BadJson:
            pass  # only text that begins like JSON
    return plain(value)


def _masked_user_data(wire: str, kept: Kept) -> str:
    text, _token = user_data.extract_token(wire)
    parsed = user_data.parse(text)
    if parsed.fields:
        return lenient_json.render(_masked_value(dict(parsed.fields), kept))
    if parsed.route in kept.values:
        return f"{parsed.route}:{masked(parsed.text.partition(':')[2])}"
    clean = masked(parsed.text)
    for pattern in kept.patterns:
        if fnmatchcase(parsed.text, pattern):
            clean = _with_parts(clean, parsed.text, pattern)
    return clean


def _with_parts(clean: str, text: str, pattern: str) -> str:
    """The masked text with those parts of the text that are in the pattern literally, so that it still matches."""
    for part in filter(None, _WILDCARD.split(pattern)):
        for found in re.finditer(re.escape(part), text):
            clean = clean[: found.start()] + part + clean[found.end() :]
    return clean


def _masked_value(value: Any, kept: Kept) -> Any:
    """Names of members stay, since routes name them."""
    if isinstance(value, dict):
        return {name: _masked_value(member, kept) for name, member in value.items()}
    if isinstance(value, list):
        return [_masked_value(item, kept) for item in value]
    if isinstance(value, bool) or value is None or as_text(value) in kept.values:
        return value
    return masked(value) if isinstance(value, str) else _masked_number(value)


def _masked_number(value: float) -> Any:
    return lenient_json.parse(re.sub(r"[1-9]", "9", lenient_json.render(value)))


def _without_addresses(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for pattern in (_OSS_HOST, _OSS_BUCKET, _ACCOUNT):
        value = pattern.sub(lambda found: masked(found[0]), value)
    return _QUERY.sub(lambda query: _VALUE.sub(lambda found: masked(found[0]), query[0]), value)
