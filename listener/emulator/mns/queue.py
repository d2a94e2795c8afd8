"""Queues and their messages: visibility, delay, retention, priority, receipt handles and long polls.

Knows nothing of HTTP. Times are milliseconds since 1970 by the emulator's clock; timers only wake what waits, they
never decide.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import heapq
import math
import re
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Any

from listener.emulator.mns.features import STANDARD, QueueFeatures
from listener.emulator.virtual_clock import Timer, VirtualClock
from listener.emulator.xml_text import escape

READY, HIDDEN, GONE = range(3)
ORDER_BITS = 48
ORDER = (1 << ORDER_BITS) - 1  #: the bits of a rank that are the order; those above are the priority
HANDLE_BYTES = 24  #: gives 32 base64 letters, which may hold + and /
#: How many messages at most expire or become visible before other requests have their turn.
SLICE = 1000
#: The format of a receipt handle, ours or one from the documentation.
HANDLE_FORM = re.compile(r"[0-9]{1,2}-[A-Za-z0-9+/=]{8,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """The six attributes of a queue; durations are seconds, sizes bytes."""

    delay_seconds: int = 0
    maximum_message_size: int = 65_536
    message_retention_period: int = 345_600
    visibility_timeout: int = 30
    polling_wait_seconds: int = 0
    logging_enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message to be sent. ``body`` and ``properties`` are already escaped, as in a reply."""

    body: str
    md5: str
    delay_seconds: int | None = None  #: None: the default of the queue
    priority: int = 8
    group: str = ""
    properties: str = ""


class StoredMessage:
    """A message in its queue. Takes little memory, since a load test creates a hundred thousand of them: it has plain
    slots, and what a reply shows in hexadecimal is kept as it is.
    """

    __slots__ = (
        "_digest",
        "_number",
        "body",
        "count",
        "enqueued_ms",
        "first_ms",
        "group",
        "handles",
        "order",
        "place",
        "priority",
        "properties",
        "visible_ms",
    )

    def __init__(self, draft: Draft, *, number: int, order: int, at: int) -> None:
        self._number = number
        self.order = order
        self.body = draft.body
        self._digest = bytes.fromhex(draft.md5)
        self.priority = draft.priority
        self.group = draft.group
        self.properties = draft.properties
        self.enqueued_ms = at
        self.first_ms = at  #: the time of sending until it is first received
        self.visible_ms = at
        self.count = 0
        self.place = GONE
        self.handles: tuple[str, ...] = ()

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> StoredMessage:
        """A message with these values of all slots."""
        message = cls.__new__(cls)
        for name in cls.__slots__:
            setattr(message, name, saved[name])
        return message

    @property
    def message_id(self) -> str:
        return f"{self._number:032X}"

    @property
    def md5(self) -> str:
        return self._digest.hex().upper()


class HandleRejected(Exception):
    """A receipt handle is not valid. ``code`` is the documented error code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class EmulatedQueue:
    """One queue of the emulator.

    A message is in exactly one place: READY, HIDDEN (delayed or received) or GONE. The two heaps hold numbers: of ready
    messages the rank, of hidden ones the time of their return and the order. They may hold stale entries, which are
    recognised by the message's place and time when they come up.
    """

    #: What is saved of a queue beside its attributes and messages.
    SAVED = ("created", "modified", "sent", "received", "deleted", "last_order")

    def __init__(
        self,
        name: str,
        *,
        attributes: Attributes,
        features: QueueFeatures = STANDARD,
        rng: Random,
        lenient: bool,
        queues: Mapping[str, EmulatedQueue] | None = None,
        clock: VirtualClock,
    ) -> None:
        self.name = name
        self._clock = clock
        self.attributes = attributes
        self.features = features
        self.created = self.modified = self._clock.ms() // 1000
        self.sent = self.received = self.deleted = 0
        self._rng = rng
        self._lenient = lenient
        #: Of the account: one of them may take the dead letters.
        self._queues = {} if queues is None else queues
        self.last_order = 0
        self._messages: dict[int, StoredMessage] = {}  #: by order
        #: Messages that have changed, by order; None while no file keeps the state.
        self.changed: dict[int, StoredMessage] | None = None
        self._by_handle: dict[str, StoredMessage] = {}
        self._by_age: deque[StoredMessage] = deque()
        self._ready: list[int] = []
        self._hidden: list[tuple[int, int]] = []
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self._timer: Timer | None = None
        self._released = False

    def change(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.modified = self._clock.ms() // 1000

    def set_features(self, features: QueueFeatures) -> None:
        self.features = features
        self.modified = self._clock.ms() // 1000
        for message in [message for message in self._messages.values() if message.place == READY]:
            self._bury(message)
        self._rearm()

    # Sending

    def send(self, drafts: Iterable[Draft]) -> list[StoredMessage]:
        """Store messages, and wake a long poll immediately. A delayed message has a handle from the start."""
        at = self._clock.ms()
        stored = [self._store(draft, at) for draft in drafts]
        self.wake()
        return stored

    def _store(self, draft: Draft, at: int) -> StoredMessage:
        self.last_order += 1
        message = StoredMessage(draft, number=self._rng.getrandbits(128), order=self.last_order, at=at)
        self._messages[message.order] = message
        self._by_age.append(message)
        self.sent += 1
        delay = self.attributes.delay_seconds if draft.delay_seconds is None else draft.delay_seconds
        if delay:
            self._hide(message, at + delay * 1000)
        else:
            self._show(message)
        return message

    # Receiving

    def take(self, limit: int) -> list[StoredMessage]:
        """Receive up to ``limit`` messages: each is hidden for the visibility timeout and gets a new handle."""
        at = self._clock.ms()
        self._promote(at)
        until = at + self.attributes.visibility_timeout * 1000
        taken = []
        for message in self._pop_ready(limit):
            message.count += 1
            if message.count == 1:
                message.first_ms = at
            self._hide(message, until)
            taken.append(message)
        self.received += len(taken)
        return taken

    async def receive(self, limit: int, *, wait: float, gone: Callable[[], bool]) -> list[StoredMessage]:
        """Receive, waiting up to ``wait`` seconds for the first message. A disconnected caller gets none."""
        deadline = self._clock.seconds() + wait
        while not (gone() or self._released):
            if taken := self.take(limit):
                self._pass_on()
                return taken
            if not await self._parked(deadline - self._clock.seconds()):
                return []
            await self.catch_up()
        self._pass_on()
        return []

    def peek(self, limit: int) -> list[StoredMessage]:
        self._promote(self._clock.ms())
        ranks = heapq.nsmallest(limit, filter(self._ready_at, self._ready))
        return [self._messages[rank & ORDER] for rank in ranks]

    def wake(self) -> None:
        """Wake the oldest waiting poll if a message is available, and give up messages whose last chance is over.

        The timer does the same again soon if these are very many.
        """
        if not self._is_timed():
            return
        self._promote(self._clock.ms(), most=SLICE)
        self._pass_on()
        self._arm()

    async def catch_up(self) -> None:
        """Advance the state to the current time, and let others do their work meanwhile if there is much to do."""
        while self._promote(self._clock.ms(), most=SLICE):
            await asyncio.sleep(0)

    def release(self) -> None:
        """End all long polls as if they had timed out; used when the queue is removed."""
        self._released = True
        while self._waiters:
            _resolve(self._waiters.popleft())
        self._disarm()

    async def _parked(self, seconds: float) -> bool:
        """Wait for a call of ``wake``; False on timeout."""
        if seconds <= 0:
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._arm()
        timeout = self._clock.call_later(seconds, lambda: _resolve(waiter, woken=False))
        try:
            return await waiter
        finally:
            timeout.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _pass_on(self) -> None:
        while self._waiters and self._is_ready():
            if _resolve(self._waiters.popleft()):
                return

    def _arm(self) -> None:
        """Set the timer to the time at which the next hidden message becomes visible, while that must be noticed."""
        self._disarm()
        if self._hidden and self._is_timed():
            delay = max(self._hidden[0][0] - self._clock.ms(), 1) / 1000
            self._timer = self._clock.call_later(delay, self.wake)

    def _rearm(self) -> None:
        if self._is_timed():
            self._arm()

    def _is_timed(self) -> bool:
        """Whether anybody waits for a message to become visible: a poll, or the queue for dead letters."""
        policy = self.features.dead_letter
        return bool(self._waiters) or (policy is not None and policy.enabled)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Handles

    def delete(self, handle: str) -> None:
        self._remove(self._held(handle))
        self.deleted += 1

    def change_visibility(self, handle: str, seconds: int) -> StoredMessage:
        """Set the visibility timeout of a received message; it gets a new handle."""
        message = self._held(handle)
        self._hide(message, self._clock.ms() + seconds * 1000, keep=self._lenient)
        return message

    def expire_handles(self) -> int:
        """Expire all receipt handles and make their messages visible; returns their number."""
        held = [message for message in self._messages.values() if message.place == HIDDEN and message.count]
        for message in held:
            self._reappear(message)
        self.wake()
        return len(held)

    def _held(self, handle: str) -> StoredMessage:
        message = self._by_handle.get(handle)
        if message is None and not HANDLE_FORM.fullmatch(handle):
            raise HandleRejected("ReceiptHandleError")
        if message is None or message.visible_ms <= self._clock.ms():
            raise HandleRejected("MessageNotExist")
        return message

    def _new_handle(self, message: StoredMessage, *, keep: bool) -> None:
        if not keep:
            self._forget_handles(message)
        letters = base64.b64encode(self._rng.randbytes(HANDLE_BYTES)).decode()
        handle = f"{message.priority}-{letters}"
        message.handles = (handle, *message.handles)
        self._by_handle[handle] = message

    def _forget_handles(self, message: StoredMessage) -> None:
        for handle in message.handles:
            del self._by_handle[handle]
        message.handles = ()

    # Heaps

    def _show(self, message: StoredMessage) -> None:
        self._forget_handles(message)
        message.place = READY
        heapq.heappush(self._ready, message.priority << ORDER_BITS | message.order)
        if self.changed is not None:
            self.changed[message.order] = message

    def _hide(self, message: StoredMessage, until: int, *, keep: bool = False) -> None:
        self._new_handle(message, keep=keep)
        message.place = HIDDEN
        message.visible_ms = until
        heapq.heappush(self._hidden, (until, message.order))
        if self.changed is not None:
            self.changed[message.order] = message
        self._rearm()

    def _reappear(self, message: StoredMessage) -> None:
        """Make a message visible whose time out of sight is over, or a dead letter if it was its last chance."""
        if not self._bury(message):
            self._show(message)

    def _remove(self, message: StoredMessage) -> None:
        self._forget_handles(message)
        message.place = GONE
        message.body = ""  # the list by age may keep the message for a while, it need not keep 64 KB
        del self._messages[message.order]
        if self.changed is not None:
            self.changed[message.order] = message
        self._compact()

    def _compact(self) -> None:
        """Forget what was removed, where that is most of what a heap or the list by age holds."""
        bound = 2 * len(self._messages) + 64
        if len(self._hidden) > bound:
            self._hidden = list(filter(self._hidden_until, self._hidden))
            heapq.heapify(self._hidden)
        if len(self._ready) > bound:
            self._ready = list(filter(self._ready_at, self._ready))
            heapq.heapify(self._ready)
        if len(self._by_age) > bound:
            self._by_age = deque(message for message in self._by_age if message.place != GONE)

    def _ready_at(self, rank: int) -> StoredMessage | None:
        """The message of an entry, unless the entry is stale."""
        message = self._messages.get(rank & ORDER)
        return message if message is not None and message.place == READY else None

    def _hidden_until(self, entry: tuple[int, int]) -> StoredMessage | None:
        """The message of an entry, unless the entry is stale."""
        until, order = entry
        message = self._messages.get(order)
        still = message is not None and message.place == HIDDEN and message.visible_ms == until
        return message if still else None

    def _promote(self, at: int, *, most: float = math.inf) -> bool:
        """Advance the state to the current time: drop expired messages, make hidden ones visible again.

        Not more than ``most`` messages; returns whether some are left.
        """
        oldest = at - self.attributes.message_retention_period * 1000
        while self._by_age and (self._by_age[0].place == GONE or self._by_age[0].enqueued_ms <= oldest):
            if not most:
                return True
            most -= 1
            message = self._by_age.popleft()
            if message.place != GONE:
                self._remove(message)
        while self._hidden and self._hidden[0][0] <= at:
            if not most:
                return True
            most -= 1
            if hidden := self._hidden_until(heapq.heappop(self._hidden)):
                self._reappear(hidden)
        return False

    def _pop_ready(self, limit: int) -> Iterator[StoredMessage]:
        while limit and self._ready:
            if message := self._ready_at(heapq.heappop(self._ready)):
                limit -= 1
                yield message

    def _is_ready(self) -> bool:
        """Whether a message can be received."""
        return any(map(self._ready_at, self._ready))

    # Dead letters

    def _bury(self, message: StoredMessage) -> bool:
        """Move a message that was received as often as it may be; False if it stays, also for want of a queue."""
        policy = self.features.dead_letter
        if policy is None or not policy.enabled or message.count < policy.max_receive_count:
            return False
        target = self._queues.get(policy.target)
        if target is None:
            return False
        self._forget_handles(message)
        letter = copy(message)
        self._remove(message)
        target._adopt(letter)
        return True

    def _adopt(self, message: StoredMessage) -> None:
        """Take over a message with its history: id, number of receives, and the time by which it will be deleted."""
        self.last_order += 1
        message.order = self.last_order
        self._messages[message.order] = message
        insort(self._by_age, message, key=attrgetter("enqueued_ms"))
        self.sent += 1
        self._show(message)
        # Without a promotion: what becomes visible here may be a dead letter for the queue that hands this one over.
        self._pass_on()

    # Persistence

    def track(self, *, everything: bool) -> None:
        """Note from now on which messages change in ``changed``, beginning with all or with none."""
        self.changed = dict(self._messages) if everything else {}

    def restore(self, fields: Mapping[str, int], messages: Iterable[Mapping[str, Any]]) -> None:
        """Take over what an earlier process has saved, messages in their order; call it on a new queue."""
        for name in self.SAVED:
            setattr(self, name, fields[name])
        for saved in messages:
            message = StoredMessage.restored(saved)
            self._messages[message.order] = message
            insort(self._by_age, message, key=attrgetter("enqueued_ms"))
            if message.place == READY:
                self._show(message)
            else:
                self._join(message)
                self._by_handle |= dict.fromkeys(message.handles, message)
                heapq.heappush(self._hidden, (message.visible_ms, message.order))
        self._rearm()

    def _join(self, message: StoredMessage) -> None:
        """Note that a message belongs to this queue, for queues that keep groups."""

    # Contents

    def messages(self) -> list[StoredMessage]:
        """All messages in the order of sending, without receiving them."""
        self._promote(self._clock.ms())
        return list(self._messages.values())

    def counts(self) -> dict[str, int]:
        """How many messages are active, inactive (received) and delayed."""
        self._promote(self._clock.ms())
        tally = {"active": 0, "inactive": 0, "delayed": 0}
        for message in self._messages.values():
            if message.place == READY:
                tally["active"] += 1
            else:
                tally["inactive" if message.count else "delayed"] += 1
        return tally


def draft(text: str, *, delay_seconds: int | None = None) -> Draft:
    """A message from a text, without validation."""
    return Draft(body=escape(text), md5=body_md5(text), delay_seconds=delay_seconds)


def body_md5(text: str) -> str:
    """MessageBodyMD5: upper-case hex of the text on the wire."""
    return md5_text(text.encode("utf-8", "surrogateescape"))


def md5_text(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


def _resolve(waiter: asyncio.Future[bool], *, woken: bool = True) -> bool:
    if waiter.done():
        return False
    waiter.set_result(woken)
    return True
