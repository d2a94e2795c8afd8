"""Send every result to a URL, signed according to Standard Webhooks (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx
from standardwebhooks import Webhook as Signer

from listener import JobResult, Reject, Retry, Unavailable, __version__
from listener.formats.durations import PositiveDuration

from .bounded_network import BoundedBackend, Budget, limited_to
from .json_encoding import json_bytes
from .time_limit import time_limit

_MAX_RETRY_AFTER = timedelta(hours=1)
#: How much may precede the response's body: the status line, headers and interim responses such as 100 Continue.
_HEAD_LIMIT = 65536
#: How much of the body is read, and for how long. The status has been received by then, and only that matters.
_BODY_LIMIT, _BODY_SECONDS = 16384, 2.0
#: The same after 2xx: the call has succeeded, but a stop that came meanwhile would repeat it. Enough for a body that is
#: sent together with its headers, so that its connection is reused.
_SUCCESS_BODY_SECONDS = 0.05
_MAX_IDLE_CONNECTIONS, _IDLE_SECONDS = 20, 5.0
_EXCERPT_LENGTH = 200
_SAFE_ID = re.compile(r"[!-~]{1,200}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")


def webhook(
    *,
    url: str,
    secret_file: Path | None = None,
    timeout: PositiveDuration = timedelta(seconds=30),
    headers: dict[str, str] | None = None,
) -> Webhook:
    """Build a handler that posts to ``url``; without ``secret_file`` it does not sign.

    The file holds ``whsec_…`` or the bare base64; it is read once. Raises ValueError and OSError.
    """
    signer = None if secret_file is None else Signer(_secret(secret_file))
    target = _url(url)
    return Webhook(
        target, pool=_pool(target), headers=_headers(target, headers or {}), signer=signer, timeout=timeout
    )


@cache
def _tls_context() -> ssl.SSLContext:
    """Shared by all webhooks: building one parses every CA certificate, and takes half a megabyte."""
    return httpx.create_ssl_context()


class Webhook:
    """Posts the JSON document of a result. 2xx is done, 410 Reject; 429 and 503 may request a delay."""

    def __init__(
        self,
        url: httpx.URL,
        *,
        pool: httpcore.ConnectionPool,
        headers: httpx.Headers,
        signer: Signer | None,
        timeout: timedelta,
    ) -> None:
        self._url = url
        self._target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        self._pool = pool
        self._headers = headers
        self._signer = signer
        self._timeout = timeout
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = False

    def __call__(self, result: JobResult, /) -> None:
        """Send one result. The timeout is for the whole call, from connecting to the end of the response's headers.

        Raises Unavailable if no connection could be made, Retry or Reject if the receiver requests it, and
        RuntimeError or TimeoutError for anything other than 2xx.
        """
        body = json_bytes(result)
        headers = httpx.Headers(self._headers)
        headers.update(self._signed(result.key, body))
        if result.traceparent:
            headers["traceparent"] = result.traceparent
        limit = time_limit(self._timeout)
        budget = Budget(time.monotonic() + limit.total_seconds(), _HEAD_LIMIT)
        with (
            self._call(),
            self._translated(limit),
            limited_to(budget),
            self._pool.stream("POST", self._target, headers=headers.raw, content=body) as response,
        ):
            text = _beginning(response, budget)
        _settle(
            response.status,
            f"{_redacted(self._url)} responded {response.status}: {text[:_EXCERPT_LENGTH]}",
            retry_after=httpx.Headers(response.headers).get("retry-after", ""),
        )

    def close(self) -> None:
        """Reject further calls, and close the connections once the last running call has ended."""
        with self._lock:
            self._closed = True
        self._close_if_idle()

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise Unavailable("the listener is stopping")
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        # Closing a socket while a thread reads from it would free its descriptor for another file.
        with self._lock:
            if self._closed and not self._calls:
                self._pool.close()

    def _signed(self, key: str, body: bytes) -> dict[str, str]:
        now, message_id = datetime.now(UTC), _message_id(key)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._signer is not None:
            headers["webhook-signature"] = self._signer.sign(message_id, now, body.decode())
        return headers

    @contextmanager
    def _translated(self, limit: timedelta) -> Iterator[None]:
        """Classify errors: nothing was sent (Unavailable), or the request may have arrived (an attempt)."""
        try:
            yield
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.ProxyError) as error:
            raise Unavailable(f"{_redacted(self._url)} is unreachable: {error}") from error
        except httpcore.TimeoutException as error:
            raise TimeoutError(f"{_redacted(self._url)} did not respond within {limit}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise RuntimeError(f"{_redacted(self._url)}: {type(error).__name__}: {error}") from error


def _settle(status: int, reason: str, *, retry_after: str) -> None:
    if httpx.codes.is_success(status):
        return
    if status == httpx.codes.GONE:
        raise Reject(reason)
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        raise Retry(reason, after=requested_delay(retry_after, now=datetime.now(UTC)))
    raise RuntimeError(reason)


def requested_delay(retry_after: str, now: datetime) -> timedelta | None:
    """Parse Retry-After, seconds or an HTTP date; None if it is not valid. At most one hour."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]+", text):
        # Checked by length first, since a server may send any number of digits.
        wait = _MAX_RETRY_AFTER if len(text) > 9 else timedelta(seconds=int(text))
    else:
        wait = _time_until(text, now)
    return min(wait, _MAX_RETRY_AFTER) if wait > timedelta(0) else None


def _time_until(date: str, now: datetime) -> timedelta:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return timedelta(0)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now


def _beginning(response: httpcore.Response, budget: Budget) -> str:
    """The start of the response's body, for messages. A short body is read completely: its connection is reused."""
    budget.bytes_left = _BODY_LIMIT
    seconds = _SUCCESS_BODY_SECONDS if httpx.codes.is_success(response.status) else _BODY_SECONDS
    budget.deadline = min(budget.deadline, time.monotonic() + seconds)
    body = b""
    try:
        for piece in response.iter_stream():
            body += piece
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass  # the rest is ignored, and its connection is closed
    return body.decode("utf-8", "replace").strip()


def _message_id(key: str) -> str:
    """The key, or its hash if it is too long or has characters that are not valid in a header."""
    return (
        key if _SAFE_ID.fullmatch(key) else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    )


def _redacted(url: httpx.URL) -> str:
    """The URL for messages, without parts that may be secret: user, password and query."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _url(text: str, *, subject: str = "url") -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        # The message of the error may contain part of a password that was not percent-encoded.
        raise ValueError(f"{subject} is not valid; special characters must be percent-encoded") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            f"{subject} must begin with http:// or https:// and name a host, not {_redacted(url)!r}"
        )
    return url


def _secret(file: Path) -> str:
    """Read and check the signing secret; no error message contains any of it."""
    try:
        text = file.read_text("ascii").strip().removeprefix("whsec_")
        secret = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        raise ValueError(f"secret_file {str(file)!r} must contain whsec_… or base64") from None
    if not secret:
        raise ValueError(f"secret_file {str(file)!r} is empty")
    return text


def _pool(url: httpx.URL) -> httpcore.ConnectionPool:
    """Connections to the receiver, or to the proxy that the environment names for it."""
    return httpcore.ConnectionPool(
        ssl_context=_tls_context(),
        proxy=_proxy(url),
        max_connections=None,
        max_keepalive_connections=_MAX_IDLE_CONNECTIONS,
        keepalive_expiry=_IDLE_SECONDS,
        network_backend=BoundedBackend(),
    )


def _proxy(url: httpx.URL) -> httpcore.Proxy | None:
    proxies = getproxies()
    name = proxies.get(url.scheme) or proxies.get("all")
    if not name or proxy_bypass(url.host):
        return None
    proxy = _url(name if "://" in name else f"http://{name}", subject="the proxy's URL in the environment")
    address = httpcore.URL(scheme=proxy.raw_scheme, host=proxy.raw_host, port=proxy.port, target=b"/")
    return httpcore.Proxy(address, auth=(proxy.username, proxy.password) if proxy.userinfo else None)


def _headers(url: httpx.URL, extra: dict[str, str]) -> httpx.Headers:
    for name, value in extra.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"headers: {name!r} cannot be sent; use plain ASCII on one line for names and values"
            )
    # No compression, since a small response could expand to fill the memory.
    headers = httpx.Headers(
        {
            "host": url.netloc.decode("ascii"),
            "user-agent": f"mns-listener/{__version__}",
            "accept": "*/*",
            "accept-encoding": "identity",
        }
    )
    if url.userinfo:
        credentials = base64.b64encode(f"{url.username}:{url.password}".encode())
        headers["authorization"] = f"Basic {credentials.decode()}"
    headers.update(extra)
    return headers
