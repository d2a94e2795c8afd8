"""URLs of databases as they may be shown: without secrets. What counts as a secret is decided here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL

MASK: Final = "***"
#: Options of libpq whose values are secret.
_SECRET_OPTIONS: Final = (
    "password",
    "sslpassword",
    "scram_client_key",
    "scram_server_key",
    "oauth_client_secret",
)
_OPTION: Final = re.compile(rf"([?&](?:{'|'.join(_SECRET_OPTIONS)})=)[^&]*", re.IGNORECASE | re.DOTALL)
_AUTHORITY: Final = re.compile(r"://.*@", re.DOTALL)
#: A shorter secret is not looked for in other text: it would be found in ordinary words.
_MIN_LENGTH: Final = 3


def display_url(url: URL) -> str:
    """The URL with all of its secrets masked."""
    return _OPTION.sub(rf"\g<1>{MASK}", url.render_as_string(hide_password=True))


def display_unparsed(url: str) -> str:
    """The same for text that is not a valid URL."""
    return _OPTION.sub(rf"\g<1>{MASK}", _AUTHORITY.sub(f"://{MASK}@", url))


def without_secrets(text: str, url: URL) -> str:
    """Text of others, such as an error of the driver, with the secrets of this URL masked."""
    for secret in _secrets(url):
        for spelling in (secret, quote(secret, safe=""), quote_plus(secret)):
            text = text.replace(spelling, MASK)
    return text


def _secrets(url: URL) -> Iterator[str]:
    found = [str(url.password or "")]
    for name, value in url.query.items():
        if name.lower() in _SECRET_OPTIONS:
            found += [value] if isinstance(value, str) else value
    return (secret for secret in found if len(secret) >= _MIN_LENGTH)
