"""Routes in their order, with what is open for their handlers, and a box that explains a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from listener.core.errors import UsageError
from listener.core.model import DeliveryState, Target
from listener.explanations import Explanations
from listener.formats.durations import duration_text
from listener.formats.toml_text import toml_text
from listener.pages.visit import Area, PageRoute, Visit
from listener.rules.retry import RetryPlan
from listener.settings.sections import HandlerSettings, RouteSettings, Settings
from listener.store.statistics import OPEN_READ, Statistics

#: In characters. A message of MNS has at most 64 KiB.
MAX_MESSAGE: Final = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHandler:
    """A handler of a route, and what is open for it."""

    name: str
    use: str
    pending: int
    running: int
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRoute:
    """A route as the settings have it."""

    name: str
    conditions: Sequence[tuple[str, str]]
    handlers: Sequence[ShownHandler]
    retry: str
    notes: Sequence[str]


def list_routes(visit: Visit) -> Response:
    settings = visit.context.settings
    counts = Statistics(visit.context.store.database).open_by_target()
    known = {target for rule in settings.rules() for target in rule.targets}
    return visit.render(
        "routes.html",
        routes=[_route(route, settings, counts) for route in settings.routes],
        unknown={target: open for target, open in counts.items() if target not in known and target.route},
        queues=[queue.label for queue in settings.queues],
        counted=OPEN_READ if _is_cut(counts) else 0,
    )


def explain(visit: Visit) -> Response:
    """What would happen to a message; changes nothing."""
    # The form's own text: an outer blank may be part of what cannot be decoded.
    message, queue = visit.form.get("message", ("",))[-1], visit.given("queue")
    if not message.strip():
        raise UsageError("there is no message to explain; paste its body")
    if len(message) > MAX_MESSAGE:
        raise UsageError(f"the message has more than {MAX_MESSAGE} characters")
    explained = Explanations(visit.context.settings, visit.context.store.database).message(
        message, queue=queue or None
    )
    return visit.render(
        "explained.html",
        explained=explained,
        message=message,
        attempts=[_attempts(plan.retries) for plan in explained.deliveries],
    )


def _is_cut(counts: Mapping[Target, Mapping[str, int]]) -> bool:
    """Whether there may be more open deliveries than were counted."""
    totals = Counter[str]()
    for each in counts.values():
        totals.update(each)
    return any(total >= OPEN_READ for total in totals.values())


def _route(
    route: RouteSettings, settings: Settings, counts: Mapping[Target, Mapping[str, int]]
) -> ShownRoute:
    match = {name: value for name, value in route.match.model_dump().items() if value}
    policy = (route.retry or settings.retry).policy()
    notes = [f"deadline {duration_text(route.deadline)}"] if route.deadline else []
    return ShownRoute(
        name=route.name,
        conditions=[(name, _condition(value)) for name, value in match.items()],
        handlers=[
            _handler(handler, counts.get(Target(route.name, handler.label), {})) for handler in route.handlers
        ],
        retry=f"{policy.max_attempts} attempts within {duration_text(policy.max_elapsed)}",
        notes=[*notes, *([] if route.enrich else ["without outputs"])],
    )


def _handler(handler: HandlerSettings, counts: Mapping[str, int]) -> ShownHandler:
    """Its options are not shown: they may be secrets."""
    return ShownHandler(
        name=handler.label,
        use=handler.use,
        pending=counts.get(DeliveryState.PENDING, 0),
        running=counts.get(DeliveryState.RUNNING, 0),
        dead=counts.get(DeliveryState.DEAD, 0),
    )


def _condition(value: Any) -> str:
    if isinstance(value, tuple):
        return " or ".join(map(toml_text, value))
    return toml_text(value)


def _attempts(plan: RetryPlan) -> str:
    if plan.attempts == 1:
        return "one, then it is a dead letter"
    more = ", …" if plan.attempts - 1 > len(plan.waits) else ""
    waits = ", ".join(map(duration_text, plan.waits)) + more
    return f"at most {plan.attempts}, after pauses of {waits}; a dead letter after {duration_text(plan.until_dead)}"


PATH: Final = "/routes"
EXPLAIN: Final = "/routes/explain"
AREA: Final = Area(
    title="Routes",
    path=PATH,
    routes=(
        PageRoute(path=PATH, view=list_routes),
        PageRoute(path=EXPLAIN, view=explain, method="POST"),
    ),
)
