"""Explanations for people: sections of names and values, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from listener.cli.table import cell_text
from listener.explanations import ExplainedDelivery, ExplainedJob, ExplainedMessage, ExplainedResult
from listener.formats.durations import duration_text
from listener.formats.unicode_text import shortened, visible
from listener.rules.explanation import DeliveryPlan, Explanation, Reading
from listener.rules.retry import RetryPlan
from listener.rules.route_reasons import RouteReason

WIDTH: Final = 80
#: How much of a value is shown.
SHOWN: Final = 300

Fields = Sequence[tuple[str, Any]]
Explained = Explanation | ExplainedJob | ExplainedResult | ExplainedMessage


def lines_of(explained: Explained) -> Iterator[str]:
    """An explanation of any kind."""
    if isinstance(explained, Explanation):
        yield from explanation_lines(explained)
    elif isinstance(explained, ExplainedJob):
        yield from _job_lines(explained)
    elif isinstance(explained, ExplainedResult):
        yield from _result_lines(explained)
    else:
        yield from _message_lines(explained)


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """The way of one message."""
    if explanation.reading:
        yield from _fields([*_reading(explanation.reading), ("queue", explanation.queue)])
    if explanation.result:
        yield from _section("result", _result(explanation))
        yield from _section("way", _way(explanation))
        yield from _routes(explanation.routes)
    yield from _section("outcome", [("recorded as", explanation.outcome), ("reason", explanation.reason)])
    yield from _plans(explanation.deliveries)


def _reading(reading: Reading) -> Fields:
    read = [f"{each.name} ({', '.join(each.fields)})" for each in reading.members if each.fields]
    ignored = [each.name for each in reading.members if not each.fields]
    broken = f"{reading.before} <HERE> {reading.after}" if reading.before or reading.after else ""
    return [
        ("wrapped in", ", then ".join(reading.wrappings) or "nothing"),
        ("read", ", ".join(read)),
        ("not read", ", ".join(ignored)),
        ("cannot be decoded", reading.error),
        ("at", broken),
    ]


def _result(explanation: Explanation) -> Fields:
    result = explanation.result
    if result is None:
        return []
    return [
        ("about", result.subject),
        ("medium", result.media_id),
        *(("state", result.state or "(none)"), ("type", result.type), ("function", result.function)),
        *(("code", result.code), ("message", result.message), ("user data", result.user_data)),
        ("source", result.source),
    ]


def _way(explanation: Explanation) -> Fields:
    return [("job", explanation.correlation), ("verification", explanation.verification)]


def _routes(routes: Sequence[RouteReason]) -> Iterator[str]:
    """Each route; only the first that matches gets the result."""
    chosen = next((reason for reason in routes if reason.matches), None)
    rows = []
    for reason in routes:
        later = " (an earlier route gets it)" if reason.matches and reason is not chosen else ""
        rows.append((f"{'->' if reason is chosen else '  '} {reason.route}", reason.text + later))
    yield from _section("routes", rows or [("", "the settings have no routes")])


def _plans(plans: Sequence[DeliveryPlan]) -> Iterator[str]:
    for plan in plans:
        fields = [("attempts", _attempts(plan.retries)), ("outputs", plan.outputs)]
        if plan.pulled:
            fields.append(("called", f"no: an application claims it with POST /v1/routes/{plan.route}/claim"))
        yield from _section(f"delivery to {plan.route}/{plan.handler}", fields)


def _attempts(plan: RetryPlan) -> str:
    if plan.attempts == 1:
        return "one, then it is a dead letter"
    waits = ", ".join(map(_duration, plan.waits))
    more = ", …" if plan.attempts - 1 > len(plan.waits) else ""
    return (
        f"at most {plan.attempts} that fail, after pauses of at most {waits}{more}; then it is a dead letter, "
        f"after at most {_duration(plan.until_dead)} (retry.{plan.limit})"
    )


def _duration(duration: timedelta) -> str:
    """``0.5 s``, ``16 s``, ``2m8s`` …: short ones exactly, longer ones as in settings."""
    seconds = duration.total_seconds()
    return f"{seconds:g} s" if seconds < 60 else duration_text(duration)


def _job_lines(explained: ExplainedJob) -> Iterator[str]:
    job = explained.job
    fields: Fields = [("job", explained.name)]
    if job:
        fields = [
            *(("job", job.job_id), ("reference", job.reference), ("token", job.token)),
            *(
                ("kind", job.kind_name),
                ("function", job.function),
                ("state", job.state),
                ("error", job.error),
            ),
            *(("user data", job.user_data), ("created", job.created_at), ("submitted", job.submitted_at)),
            *(("finished", job.finished_at), ("deadline", job.deadline_at), ("queries", job.queries)),
        ]
    yield from _fields([*fields, ("next", explained.awaited)])
    for result in explained.results:
        yield ""
        yield from _result_lines(result)
    if explained.if_it_succeeds:
        yield ""
        yield "if it succeeds"
        yield from _routes(explained.if_it_succeeds.routes)
        yield from _plans(explained.if_it_succeeds.deliveries)


def _result_lines(explained: ExplainedResult) -> Iterator[str]:
    explanation = explained.explanation
    yield f"result {explained.id}"
    others = [("copies", explained.copies)] if explained.copies > 1 else []
    others += [("contradictions", explained.contradictions)] if explained.contradictions else []
    yield from _fields(
        [
            *_result(explanation),
            *(("queue", explanation.queue), ("recorded as", explained.status), ("at", explained.received_at)),
            *others,
            *_way(explanation),
        ]
    )
    yield from _routes(explanation.routes)
    for delivery in explained.deliveries:
        yield from _section(
            f"delivery {delivery.id} to {delivery.route}/{delivery.handler}", _progress(delivery)
        )
    if not explained.deliveries:
        fields = [("recorded as", explanation.outcome), ("reason", explanation.reason)]
        yield from _section("by the current settings", fields)
        yield from _plans(explanation.deliveries)


def _progress(delivery: ExplainedDelivery) -> Fields:
    return [
        ("state", delivery.state),
        *(("attempts", delivery.attempt), ("failures", delivery.failures)),
        *(("next attempt", delivery.next_at), ("settled", delivery.settled_at)),
        ("last error", delivery.last_error),
    ]


def _message_lines(explained: ExplainedMessage) -> Iterator[str]:
    yield from _fields(
        [
            *(("message", explained.message_id), ("received", explained.received_at)),
            *(("copies", explained.copies), ("quarantined", explained.reason)),
        ]
    )
    yield ""
    yield "if it is retried"
    yield from explanation_lines(explained.explanation)


def _section(title: str, fields: Fields) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in _fields(fields, width=WIDTH - 2))


def _fields(fields: Fields, *, width: int = WIDTH) -> Iterator[str]:
    """Names and values in two columns; values are folded at blanks, empty ones are left out."""
    given = [(name, _cell(value)) for name, value in fields if value not in (None, "")]
    column = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        lines = textwrap.wrap(
            value, max(width - column - 2, 30), break_long_words=False, break_on_hyphens=False
        )
        for number, line in enumerate(lines or [""]):
            yield f"{'' if number else name:<{column}}  {line}".rstrip()


def _cell(value: Any) -> str:
    return cell_text(value) if isinstance(value, datetime) else visible(shortened(str(value), SHOWN))
