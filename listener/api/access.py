"""Who may use the API: the tokens of ``http.token_file``, or whoever may open the unix socket."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.core.errors import SettingsError
from listener.core.logger import get_logger
from listener.http.guard import SAFE_METHODS
from listener.http.problem import Problem, problem_response
from listener.runtime.file_version import FileVersion, file_version
from listener.runtime.log_throttle import ThrottledLog

log = get_logger(__name__)

#: A shorter token could be guessed.
MIN_TOKEN: Final = 16
#: What can be sent in an Authorization header (RFC 6750).
_SENDABLE: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
#: What a token that may only read is accepted for, although it needs a body: it changes nothing.
READING: Final = frozenset({"/v1/explain"})
_CHALLENGE: Final = 'Bearer realm="mns-listener"'


class Permission(StrEnum):
    """What the holder of a token may do; whoever may write may also read."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class _Token:
    permission: Permission
    #: Of fixed length, so that a comparison does not show how long the token is.
    digest: bytes = field(repr=False)


class Tokens:
    """The tokens in a file; it is read again when it has changed.

    A line is ``read TOKEN``, ``write TOKEN`` or only a token, which may write. Empty lines and those with ``#`` at the
    beginning are skipped.
    """

    def __init__(self, path: Path) -> None:
        """Raises SettingsError if the file cannot be read, or a line is not as described above."""
        self._path = path
        self._version = file_version(str(path))
        self._tokens = _read(path)
        self._warnings = ThrottledLog(log)

    def permission_of(self, token: str) -> Permission | None:
        """What this token allows; None for one that is not in the file. Takes equally long for each of them."""
        given = _digest(token)
        found = None
        for each in self._current():
            if compare_digest(each.digest, given):
                found = each.permission
        return found

    def _current(self) -> Sequence[_Token]:
        version = file_version(str(self._path))
        if version != self._version:
            self._read_again(version)
        return self._tokens

    def _read_again(self, version: FileVersion | None) -> None:
        """The tokens so far stay valid while the file is missing or wrong: it may be in the middle of a change."""
        try:
            self._tokens = _read(self._path)
        except SettingsError as error:
            self._warnings.warning("http.tokens_not_reloaded", error=str(error))
        else:
            self._version = version


class Access:
    """An application in front of the API that lets only requests with a sufficient token pass."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens | None) -> None:
        """Without ``tokens`` every request passes: the mode of the unix socket decides."""
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._refusal(scope)
        answer = problem_response(problem) if problem else self._app
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        if self._tokens is None:
            return None
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return _unauthorized("the request has no token", _CHALLENGE)
        permission = self._tokens.permission_of(token.strip())
        if permission is None:
            return _unauthorized("the token is not valid", f'{_CHALLENGE}, error="invalid_token"')
        reads = scope["method"] in SAFE_METHODS or scope["path"] in READING
        if permission is Permission.READ and not reads:
            return _READ_ONLY
        return None


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(
        name="unauthorized",
        title="A valid token is required",
        status=401,
        detail=detail,
        hint="send the header `Authorization: Bearer TOKEN` with a token of http.token_file",
        headers={"www-authenticate": challenge},
    )


_READ_ONLY: Final = Problem(
    name="read-only-token",
    title="The token may only read",
    status=403,
    detail="this token may only read",
    hint="use a token that has the word write before it in http.token_file",
    headers={"www-authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="write"'},
)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _read(path: Path) -> Sequence[_Token]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"http.token_file = {str(path)!r} cannot be read: {error}; "
            "use a file that the user running mns-listener can read"
        ) from error
    found: dict[bytes, _Token] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            token = _parsed(line.split(), where=f"http.token_file = {str(path)!r}, line {number}")
            if token.digest in found:
                raise SettingsError(
                    f"http.token_file = {str(path)!r}, line {number}: this token occurs before"
                )
            found[token.digest] = token
    if not found:
        raise SettingsError(f"http.token_file = {str(path)!r} contains no token")
    return tuple(found.values())


def _parsed(words: Sequence[str], *, where: str) -> _Token:
    """Its messages quote nothing of the line."""
    *before, token = words
    if len(before) > 1 or (before and before[0] not in tuple(Permission)):
        raise SettingsError(f"{where}: expected `read TOKEN`, `write TOKEN` or a token alone")
    if len(token) < MIN_TOKEN:
        raise SettingsError(f"{where}: the token is shorter than {MIN_TOKEN} characters")
    if not _SENDABLE.fullmatch(token):
        raise SettingsError(
            f"{where}: a token consists of letters, digits and . _ ~ + / - only, and = at its end"
        )
    return _Token(Permission(before[0]) if before else Permission.WRITE, _digest(token))
