"""What the times of rows show about the clock before this process started.

Rows that were written one after the other show times that rise. If they fall by much and rise again by as much, the
clock was behind in between. If they only fall, it was ahead before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from listener.core.model import ClockLag

#: Only so many periods, the newest ones, are looked for in rows.
PERIODS: Final = 5
#: What was written with rows whose times are known may have a time that differs from theirs by so much.
MARGIN: Final = timedelta(minutes=1)


@dataclass(slots=True)
class _Fallen:
    """Rows with times that are much earlier than those of rows before them."""

    highest: datetime  #: the latest time before them
    begin: datetime
    end: datetime
    after: datetime | None = None  #: the first time after them that is not earlier than ``highest``

    def lag(self, *, now: datetime, tolerance: timedelta) -> ClockLag | None:
        """The clock was behind by at least ``fell``, and by no more than ``rose``, which makes no row look older than
        it is, and none newer than the one after it.

        However the estimates of several processes differ: ``fell`` is the least, and the period is at most half as
        long. Times that any of them has moved are outside of it.
        """
        fell, rose = self.highest - self.begin, (self.after or now) - self.end
        if rose < fell - tolerance:
            return None  # the clock was ahead before, and these times are right
        end = self.end + MARGIN
        begin = max(self.begin - MARGIN, end - fell / 2)
        return ClockLag(begin=begin, end=end, by=max(fell, rose), at_least=fell)


def lags_shown(times: Sequence[datetime], *, now: datetime, tolerance: timedelta) -> Sequence[ClockLag]:
    """The periods in which the clock was behind by more than ``tolerance``, from times in the order of their writing.

    The clock is right ``now``. What is later than that was written by a clock that was ahead, and shows nothing else.
    """
    fallen: deque[_Fallen] = deque(maxlen=PERIODS)
    past = [at for at in times if at <= now]
    highest = past[0] if past else now
    for at in past:
        if at < highest - tolerance:
            _add(fallen, at, highest=highest, tolerance=tolerance)
        else:
            highest = max(highest, at)
            _end_all(fallen, at)
    lags = (each.lag(now=now, tolerance=tolerance) for each in fallen)
    return [lag for lag in lags if lag]


def _add(fallen: deque[_Fallen], at: datetime, *, highest: datetime, tolerance: timedelta) -> None:
    # Transactions overlap: those that began before a jump may end after it.
    same = [each for each in fallen if abs(at - each.end) <= tolerance]
    if not same and fallen and fallen[-1].after is None and at > fallen[-1].end:
        same = [fallen[-1]]  # time went on, without any rows
    if not same:
        fallen.append(_Fallen(highest, at, at))
        return
    same[-1].begin = min(same[-1].begin, at)
    same[-1].end = max(same[-1].end, at)
    same[-1].after = None


def _end_all(fallen: Iterable[_Fallen], at: datetime) -> None:
    for each in fallen:
        each.after = each.after or at
