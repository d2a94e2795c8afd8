"""Spans of OpenTelemetry, from the submission of a job to its handlers: for processes that use OpenTelemetry.

Such a process has a tracer provider: its application, ``opentelemetry-instrument`` or a module of handlers has set one
up. That OpenTelemetry is imported does not tell: FastAPI does so. This module imports it only if another one did, so
without a provider next to nothing is done. A trace is passed on all the same, as the text of a ``traceparent`` (W3C
Trace Context), which is stored with the job.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from listener import __version__
from listener.core import clock
from listener.core.logger import get_logger
from listener.formats.unicode_text import storable
from listener.runtime.log_throttle import ThrottledLog

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

log = get_logger(__name__)
_warnings = ThrottledLog(log)

#: Before the names of attributes.
PREFIX: Final = "mns_listener."
_NAME: Final = "mns-listener"
_TRACEPARENT: Final = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)
_caller: ContextVar[str] = ContextVar("mns_listener_caller", default="")

Kind = Literal["CLIENT", "CONSUMER", "INTERNAL"]
Attributes = Mapping[str, str | int]
"""Without their prefix; empty values are left out."""
NO_ATTRIBUTES: Final[Attributes] = {}


@dataclass(frozen=True, slots=True)
class ActiveSpan:
    """A span that has begun, or the place of one where OpenTelemetry is not used."""

    traceparent: str  #: that of the span; without one, what was given as its parent
    _span: Span | None = None

    def set(self, attributes: Attributes) -> None:
        """Give the span these attributes, too."""
        if self._span is not None:
            with _Harmless():
                self._span.set_attributes(_prefixed(attributes))

    def fail(self, error: BaseException) -> None:
        """The work failed with this error."""
        if self._span is not None:
            with _Harmless():
                _fail(self._span, error)


#: Of most work; made once, since there is one for each delivery and each request.
_NO_SPAN: Final = nullcontext(ActiveSpan(""))


def is_used() -> bool:
    """Whether this process makes spans: a tracer provider has been set."""
    if not _is_imported():
        return False
    from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

    return not isinstance(get_tracer_provider(), ProxyTracerProvider)


def _is_imported() -> bool:
    return "opentelemetry.trace" in sys.modules


def current() -> str:
    """The traceparent of the caller's span; empty if there is none."""
    return _own_current() or _caller.get()


@contextmanager
def called_by(traceparent: str) -> Iterator[None]:
    """The caller is in another process, and its span has this traceparent; a text that is none is ignored.

    A span of this process that is current takes precedence.
    """
    token = _caller.set(traceparent if _TRACEPARENT.fullmatch(traceparent) else "")
    try:
        yield
    finally:
        _caller.reset(token)


def span(
    name: str, *, kind: Kind, parent: str | None = None, attributes: Attributes = NO_ATTRIBUTES
) -> AbstractContextManager[ActiveSpan]:
    """The span of what is done within, which is current there; what is raised from there fails it.

    ``parent`` is the traceparent of its parent; "" begins a trace, and None continues that of the caller.
    """
    given = _caller.get() if parent is None else parent
    if not is_used():
        return nullcontext(ActiveSpan(given)) if given else _NO_SPAN
    known = None if parent is None and _own_current() else given
    begun = _begun(name, kind=kind, parent=known, attributes=attributes)
    return nullcontext(ActiveSpan(given)) if begun is None else _active(begun, given)


@contextmanager
def _active(begun: Span, given: str) -> Iterator[ActiveSpan]:
    from opentelemetry.trace import use_span

    active = ActiveSpan(_traceparent(begun) or given, begun)
    with use_span(begun, record_exception=False, set_status_on_exception=False):
        try:
            yield active
        except BaseException as error:
            active.fail(error)
            raise
        finally:
            with _Harmless():
                begun.end()


def completed(
    name: str, *, kind: Kind, parent: str, since: datetime, attributes: Attributes = NO_ATTRIBUTES
) -> None:
    """A span of what began at this time and has just ended; nothing without a parent."""
    if not parent or not is_used():
        return
    begun = _begun(name, kind=kind, parent=parent, attributes=attributes, since=since)
    if begun is not None:
        with _Harmless():
            begun.end(_nanoseconds(clock.now()))


class _Harmless:
    """Processors and exporters are other people's code, and may not stop the work: their errors are logged."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, Exception):
            _warnings.warning("tracing.failed", error=f"{type(error).__name__}: {error}")
        return isinstance(error, Exception)


def _begun(
    name: str,
    *,
    kind: Kind,
    parent: str | None,
    attributes: Attributes,
    since: datetime | None = None,
) -> Span | None:
    """A new span, of the current one if there is no ``parent``; None if it could not be made."""
    from opentelemetry.trace import SpanKind, get_tracer

    with _Harmless():
        return get_tracer(_NAME, __version__).start_span(
            name,
            context=None if parent is None else _context(parent),
            kind=SpanKind[kind],
            attributes=_prefixed(attributes),
            start_time=None if since is None else _nanoseconds(since),
        )
    return None


def _fail(span: Span, error: BaseException) -> None:
    """Unlike the SDK's ``record_exception``, this shows any text, also if the error itself cannot say it."""
    from opentelemetry.trace import Status, StatusCode

    text = storable("".join(traceback.format_exception_only(error)).strip())
    span.set_status(Status(StatusCode.ERROR, text))
    span.add_event(
        "exception",
        {
            "exception.type": type(error).__qualname__,
            "exception.message": text,
            "exception.stacktrace": storable("".join(traceback.format_exception(error))),
        },
    )


def _context(traceparent: str) -> Context:
    """That of a span with this parent alone, whatever the thread did before."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


def _own_current() -> str:
    """The traceparent of the current span of this process; empty if there is none."""
    if not _is_imported():
        return ""
    from opentelemetry.trace import get_current_span

    return _traceparent(get_current_span())


def _traceparent(of: Span) -> str:
    """Empty for a span that belongs to no trace."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if not of.get_span_context().is_valid:  # most submissions are not traced
        return ""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(of))
    return carrier.get("traceparent", "")


def _prefixed(attributes: Attributes) -> dict[str, str | int]:
    return {
        PREFIX + name: storable(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value != ""
    }


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
