"""Several requests to MNS at the same time, by one thread: each waits on a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from listener.aliyun.credentials import Credentials
from listener.aliyun.mns_connection import CONNECT_TIMEOUT, MnsConnection, MnsReply, MnsRequest, sdk_client
from listener.core import clock

#: How many requests are made at the same time at most.
MAX_CONNECTIONS: Final = 8

RequestOutcome = MnsReply | Exception | None
"""The reply, or what the request failed with; None if it was interrupted."""


class MnsConnections:
    """As many connections to one endpoint as requests were ever made at the same time; they are kept open.

    Used by one thread; ``interrupt`` and ``abort`` are called from others, and hold for all connections.
    """

    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        """Nothing is sent yet. Raises SettingsError if the endpoint cannot be used."""
        self._connect = partial(MnsConnection, sdk_client(endpoint, credentials))
        self._connections = [self._connect()]
        self._interrupted = self._aborted = False

    def exchange(self, requests: Sequence[MnsRequest]) -> list[RequestOutcome]:
        """Fewer outcomes than requests if the last ones were not sent: after one that failed, or once connecting has
        taken long, no connection is made for others, as each would take its time-outs.
        """
        outcomes: list[RequestOutcome] = []
        for at in range(0, len(requests), MAX_CONNECTIONS):
            group = requests[at : at + MAX_CONNECTIONS]
            outcomes += self._at_once(group)
            if len(outcomes) < at + len(group) or any(isinstance(each, Exception) for each in outcomes):
                break
        return outcomes

    def _at_once(self, requests: Sequence[MnsRequest]) -> list[RequestOutcome]:
        connections = self._enough_for(len(requests))
        patient_until = clock.monotonic() + CONNECT_TIMEOUT.total_seconds()
        sent = 0
        for connection, request in zip(connections, requests, strict=True):
            sent += 1
            if not connection.begin(request) or clock.monotonic() > patient_until:
                break
        outcomes: list[RequestOutcome] = []
        patient = True
        for connection in connections[:sent]:
            try:
                outcomes.append(connection.finish(repeat=patient))
            except Exception as error:
                patient = False
                outcomes.append(error)
            patient = patient and clock.monotonic() <= patient_until
        return outcomes

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
