"""Several requests to MNS at the same time, by one thread: each waits on a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from listener.aliyun.credentials import Credentials
from listener.aliyun.mns_connection import MnsConnection, MnsReply, MnsRequest


class MnsConnections:
    """As many connections to one endpoint as requests were ever made at the same time; they are kept open.

    Used by one thread; ``interrupt`` and ``abort`` are called from others, and hold for all connections.
    """

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        """Nothing is sent yet. Raises SettingsError if the endpoint cannot be used."""
        self._connect = partial(MnsConnection, endpoint, credentials)
        self._connections = [self._connect()]
        self._interrupted = self._aborted = False

    def exchange(self, requests: Sequence[MnsRequest]) -> list[MnsReply | Exception | None]:
        """The replies to these requests, each None if it was interrupted, or what the request failed with.

        After one that failed, no connection is made for others: each would take its time-outs.
        """
        connections = self._enough_for(len(requests))
        sent = 0
        for connection, request in zip(connections, requests, strict=True):
            sent += 1
            if not connection.begin(request):
                break
        outcomes: list[MnsReply | Exception | None] = []
        failure: Exception | None = None
        for connection in connections[:sent]:
            try:
                outcomes.append(connection.finish(repeat=failure is None))
            except Exception as error:
                failure = error
                outcomes.append(error)
        return outcomes + [failure] * (len(requests) - sent)

    def interrupt(self) -> None:
        self._interrupted = True
        for connection in tuple(self._connections):
            connection.interrupt()

    def abort(self) -> None:
        self._aborted = True
        for connection in tuple(self._connections):
            connection.abort()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _enough_for(self, requests: int) -> Sequence[MnsConnection]:
        while len(self._connections) < requests:
            added = self._connect()
            self._connections.append(added)
            if self._aborted:  # by another thread, before it could find this one
                added.abort()
            elif self._interrupted:
                added.interrupt()
        return self._connections[:requests]
