"""The client for asyncio: the same methods, to be awaited.

For example::

    async with listener.AsyncClient() as client:
        job = await client.submit(request)
        job = await client.wait(job, timeout=600)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from listener.client import Client, ErrorT, pauses_until, timed_out, warn_caller
from listener.core.errors import ListenerError, UsageError
from listener.core.model import Job
from listener.core.outputs import Outputs
from listener.jobs.request import JobRequest
from listener.jobs.submission import Accepted, Prepared
from listener.settings.sections import Settings

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class AsyncClient:
    """Calls a ``Client`` in threads, since the vendor's SDK and the database driver block.

    Use it as an asynchronous context manager: it opens the store at the beginning and closes it at the end. A call
    that is cancelled returns at once; what it had begun, such as a submission, is finished all the same.
    """

    def __init__(self, settings: Settings | Path | str | None = None) -> None:
        self._settings = settings
        self._opened: Client | None = None

    async def __aenter__(self) -> Self:
        self._opened = await asyncio.to_thread(Client, self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        client, self._opened = self._opened, None
        if client is not None:
            await asyncio.to_thread(client.close)

    async def check(self, request: JobRequest, *, tenant: str = "") -> list[str]:
        """See ``Client.check``."""
        return await self._call(self._client.check, request, tenant=tenant)

    async def submit(
        self, request: JobRequest, *, tenant: str = "", warn: Callable[[str], None] = warn_caller
    ) -> Job:
        """See ``Client.submit``."""
        for text in await self.check(request, tenant=tenant):
            warn(text)
        return await self._call(self._client.submit, request, tenant=tenant, warn=_ignore)

    async def submit_once(
        self, request: JobRequest, *, tenant: str = "", warn: Callable[[str], None] = warn_caller
    ) -> tuple[Job, bool]:
        """See ``Client.submit_once``."""
        for text in await self.check(request, tenant=tenant):
            warn(text)
        return await self._call(self._client.submit_once, request, tenant=tenant, warn=_ignore)

    async def accept(self, requests: Sequence[tuple[JobRequest, str]]) -> Sequence[Accepted | ListenerError]:
        """See ``Client.accept``."""
        return await self._call(self._client.accept, requests)

    async def prepare(self, request: JobRequest, tenant: str) -> Prepared | ListenerError:
        """See ``Client.prepare``."""
        return await self._call(self._client.prepare, request, tenant)

    async def accept_prepared(
        self, prepared: Sequence[Prepared | ErrorT]
    ) -> Sequence[Accepted | ListenerError | ErrorT]:
        """See ``Client.accept_prepared``."""
        return await self._call(self._client.accept_prepared, prepared)

    async def register(self, job_id: str, **fields: Any) -> Job:
        """See ``Client.register``, which has the same fields."""
        return await self._call(self._client.register, job_id, **fields)

    async def find(self, name: str) -> Job:
        """See ``Client.find``."""
        return await self._call(self._client.find, name)

    async def wait(self, job: Job | str, *, timeout: timedelta | float | None = None) -> Job:
        """See ``Client.wait``. No thread is occupied between two looks at the store."""
        name = job if isinstance(job, str) else job.token
        pauses = pauses_until(timeout)
        while (found := await self.find(name)).finished_at is None:
            pause = next(pauses, None)
            if pause is None:
                raise timed_out(found, timeout)
            await asyncio.sleep(pause)
        return found

    async def outputs(self, job: Job | str) -> Outputs | None:
        """See ``Client.outputs``."""
        return await self._call(self._client.outputs, job)

    @property
    def _client(self) -> Client:
        if self._opened is None:
            raise UsageError("the client is not open; use `async with AsyncClient() as client:`")
        return self._opened

    async def _call(
        self,
        method: Callable[Parameters, Returned],
        *arguments: Parameters.args,
        **fields: Parameters.kwargs,
    ) -> Returned:
        return await asyncio.to_thread(method, *arguments, **fields)


def _ignore(text: str) -> None:
    """The warnings were issued before the call, in the caller's own thread."""
