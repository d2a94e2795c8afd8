"""Runs checks concurrently and for a limited time: one that hangs is reported as such, and abandoned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import timedelta

from listener.core import clock
from listener.core.check_result import CheckKind, CheckResult, Level
from listener.core.errors import ListenerError, SettingsError, UnavailableError
from listener.core.exit_codes import ExitCode
from listener.formats.durations import duration_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: ``find`` makes its results, one after another, or raises ListenerError, which is a failure."""

    kind: CheckKind
    subject: str = ""
    find: Callable[[], Iterable[CheckResult]]
    level_if_hanging: Level = Level.FAILED

    @classmethod
    def of(cls, kind: CheckKind, verify: Callable[[], str], *, subject: str = "") -> Check:
        """A check with one result: ``verify`` returns what was found, in words."""
        return cls(kind=kind, subject=subject, find=lambda: [ok(kind, verify(), subject=subject)])

    def results(self) -> Iterator[CheckResult]:
        try:
            yield from self.find()
        except ListenerError as error:
            yield from failures(self.kind, self.subject, error)


def ok(kind: CheckKind, detail: str, *, subject: str = "", advice: str = "") -> CheckResult:
    return CheckResult(level=Level.OK, kind=kind, subject=subject, detail=detail, advice=advice)


def failures(kind: CheckKind, subject: str, error: ListenerError) -> Iterator[CheckResult]:
    """A result for each message of the error, in its words."""
    for message in error.messages if isinstance(error, SettingsError) else (str(error),):
        yield CheckResult(
            level=Level.FAILED,
            kind=kind,
            subject=subject,
            detail=message,
            advice=error.hint if isinstance(error, UnavailableError) else "",
            exit_code=error.exit_code,
        )


@dataclass(slots=True)
class RunningCheck:
    """A check that has been started. ``found`` grows until ``done``."""

    check: Check
    found: list[CheckResult] = field(default_factory=list)
    done: Future[None] = field(default_factory=Future)

    def run(self) -> None:
        try:
            for result in self.check.results():
                self.found.append(result)
        except BaseException as error:  # raised again by ``results``, in the thread that waits
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


class BoundedChecks:
    """All checks have the same deadline, which is counted from the construction. For one thread."""

    def __init__(self, *, limit: timedelta) -> None:
        self._limit = limit
        self._deadline = clock.monotonic() + limit.total_seconds()

    def start(self, check: Check) -> RunningCheck:
        """Run the check in a thread of its own, which does not hold up the end of the process."""
        (running,) = self.start_in_turn([check])
        return running

    def start_in_turn(self, checks: Sequence[Check]) -> Sequence[RunningCheck]:
        """The same for checks that must not run at the same time: one thread for all of them."""
        running = [RunningCheck(check) for check in checks]
        threading.Thread(target=_run_in_turn, args=(running,), name="checks", daemon=True).start()
        return running

    def results(self, running: RunningCheck) -> Sequence[CheckResult]:
        """Wait for the check; after the deadline, what it has found so far and that it hangs."""
        wait([running.done], timeout=max(0.0, self._deadline - clock.monotonic()))
        if running.done.done():
            running.done.result()
            return running.found
        return [*running.found, self._timed_out(running.check)]

    def _timed_out(self, check: Check) -> CheckResult:
        failed = check.level_if_hanging == Level.FAILED
        return CheckResult(
            level=check.level_if_hanging,
            kind=check.kind,
            subject=check.subject,
            detail=f"no answer within {duration_text(self._limit)}",
            advice="verify the network, name resolution, and that what is asked runs; then check again",
            exit_code=ExitCode.UNAVAILABLE if failed else ExitCode.OK,
        )


def _run_in_turn(checks: Sequence[RunningCheck]) -> None:
    for check in checks:
        check.run()
