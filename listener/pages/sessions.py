"""Who has signed in: sessions in memory, each found by a random id that the browser keeps in a cookie."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from listener.api.access import Permission, Tokens
from listener.core import clock

#: How long a session lasts after the sign-in.
LIFETIME: Final = timedelta(hours=12)
#: How many there may be with the same token; a further one ends the oldest of these, and no one else's.
MAX_SESSIONS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One browser that may see the pages."""

    id: str
    permission: Permission
    token: str = field(default="", repr=False)  #: the one of the sign-in; the session ends when it is revoked
    expires: float  #: of the monotonic clock

    @property
    def may_write(self) -> bool:
        return self.permission is Permission.WRITE


class Sessions:
    """The sessions of this process; a restart ends them all. Only the thread of the event loop uses it."""

    def __init__(self, tokens: Tokens | None) -> None:
        """Without ``tokens`` no one has to sign in."""
        self._tokens = tokens
        self._sessions: dict[str, Session] = {}
        self._key = secrets.token_bytes(32)

    @property
    def required(self) -> bool:
        """Whether one has to sign in."""
        return self._tokens is not None

    def begin(self, token: str) -> Session | None:
        """A session for whoever has this token; None if it is unknown.

        It has a new id, so that no one can have planted the cookie before the sign-in.
        """
        permission = self._tokens.permission_of(token) if self._tokens else None
        if permission is None:
            return None
        self._forget_expired()
        of_token = [key for key, each in self._sessions.items() if each.token == token]
        if len(of_token) >= MAX_SESSIONS:
            del self._sessions[of_token[0]]
        expires = clock.monotonic() + LIFETIME.total_seconds()
        session = Session(id=new_id(), permission=permission, token=token, expires=expires)
        self._sessions[session.id] = session
        return session

    def find(self, session_id: str) -> Session | None:
        """The session with this id, unless it has expired, or its token is no longer valid."""
        if self._tokens is None:
            return self.without_sign_in(session_id) if session_id else None
        session = self._sessions.get(session_id)
        if session is None or session.expires <= clock.monotonic():
            return None
        permission = self._tokens.permission_of(session.token)
        return replace(session, permission=permission) if permission else None

    def without_sign_in(self, session_id: str) -> Session:
        """The session of everyone, where no one has to sign in. It is not kept: only its CSRF token matters."""
        return Session(id=session_id, permission=Permission.WRITE, expires=0.0)

    def end(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    def csrf_token(self, session: Session) -> str:
        """What each form of this session contains; it cannot be made from the cookie without our key."""
        return hmac.new(self._key, session.id.encode(), hashlib.sha256).hexdigest()

    def accepts(self, session: Session, csrf_token: str) -> bool:
        """Whether a form with this token was made for this session."""
        return hmac.compare_digest(self.csrf_token(session).encode(), csrf_token.encode())

    def _forget_expired(self) -> None:
        now = clock.monotonic()
        self._sessions = {key: each for key, each in self._sessions.items() if each.expires > now}


def new_id() -> str:
    """An id that no one can guess."""
    return secrets.token_urlsafe(32)


def cookie_name(listen: str) -> str:
    """The name of the session cookie: browsers send the cookies of one host to all of its ports, and there may be
    another daemon at another port."""
    return f"mns_listener_{hashlib.sha256(listen.encode()).hexdigest()[:8]}"
