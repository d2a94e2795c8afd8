"""Spans of OpenTelemetry, from the submission of a job to its handlers: for processes that use OpenTelemetry.

Such a process has imported it: its application, ``opentelemetry-instrument`` or a module of handlers has set a tracer
provider up. This module imports it only then, so without it nothing is imported and next to nothing is done. A trace is
passed on all the same, as the text of a ``traceparent`` (W3C Trace Context), which is stored with the job.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from listener import __version__
from listener.core import clock
from listener.formats.unicode_text import storable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Tracer

#: Before the names of attributes.
PREFIX: Final = "mns_listener."
_NAME: Final = "mns-listener"

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
            self._span.set_attributes(_prefixed(attributes))

    def fail(self, error: BaseException) -> None:
        """The work failed with this error."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            # Unlike the SDK's record_exception, this shows any text, also if the error itself cannot say it.
            text = storable("".join(traceback.format_exception_only(error)).strip())
            self._span.set_status(Status(StatusCode.ERROR, text))
            self._span.add_event(
                "exception",
                {
                    "exception.type": type(error).__qualname__,
                    "exception.message": text,
                    "exception.stacktrace": storable("".join(traceback.format_exception(error))),
                },
            )


def is_used() -> bool:
    """Whether this process uses OpenTelemetry."""
    return "opentelemetry.trace" in sys.modules


def current() -> str:
    """The traceparent of the caller's span; empty if there is none."""
    if not is_used():
        return ""
    from opentelemetry.trace import get_current_span

    return _traceparent(get_current_span())


@contextmanager
def span(
    name: str, *, kind: Kind, parent: str | None = None, attributes: Attributes = NO_ATTRIBUTES
) -> Iterator[ActiveSpan]:
    """The span of what is done within, which is current there; what is raised from there fails it.

    ``parent`` is the traceparent of its parent; "" begins a trace, and None continues that of the caller.
    """
    if not is_used():
        yield ActiveSpan(parent or "")
        return
    from opentelemetry.trace import use_span

    begun = _tracer().start_span(
        name,
        context=None if parent is None else _context(parent),
        kind=_kind(kind),
        attributes=_prefixed(attributes),
    )
    with use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        active = ActiveSpan(_traceparent(begun) or parent or "", begun)
        try:
            yield active
        except BaseException as error:
            active.fail(error)
            raise


def completed(
    name: str, *, kind: Kind, parent: str, since: datetime, attributes: Attributes = NO_ATTRIBUTES
) -> None:
    """A span of what began at this time and has just ended; nothing without a parent."""
    if not parent or not is_used():
        return
    begun = _tracer().start_span(
        name,
        context=_context(parent),
        kind=_kind(kind),
        attributes=_prefixed(attributes),
        start_time=_nanoseconds(since),
    )
    begun.end(_nanoseconds(clock.now()))


def _tracer() -> Tracer:
    from opentelemetry.trace import get_tracer

    return get_tracer(_NAME, __version__)


def _kind(name: Kind) -> SpanKind:
    from opentelemetry.trace import SpanKind

    return SpanKind[name]


def _context(traceparent: str) -> Context:
    """That of a span with this parent alone, whatever the thread did before."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


def _traceparent(of: Span) -> str:
    """Empty for a span that belongs to no trace."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

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
