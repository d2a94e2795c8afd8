"""What is valid in the settings, but probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from listener.core import event_types
from listener.core.event_types import is_complete, is_start
from listener.core.job_kinds import JOB_KINDS
from listener.jobs.functions import FUNCTIONS
from listener.jobs.request import KIND_NAMES, region_of
from listener.rules.hidden_rules import hidden_rules
from listener.settings.sections import MpsSettings, Settings, mps_section

#: Where MPS is available, by the vendor's pages about regions and endpoints.
REGIONS: Final = (
    *("ap-northeast-1", "ap-southeast-1", "ap-southeast-5", "cn-beijing", "cn-hangzhou", "cn-hongkong"),
    *("cn-qingdao", "cn-shanghai", "cn-shenzhen", "cn-zhangjiakou", "eu-central-1", "eu-west-1", "us-west-1"),
)
#: Of callbacks and events, by their case-folded name.
_TYPES: Final[Mapping[str, str]] = {
    name.casefold(): name
    for name in (
        *(type_ for kind in JOB_KINDS for type_ in (kind.name, *kind.types)),
        *event_types.DOCUMENTED,
    )
}


def settings_warnings(settings: Settings) -> list[str]:
    """One sentence about each of them."""
    return [
        *_functions(settings),
        *_types(settings),
        *_hidden_routes(settings),
        *_pulled(settings),
        *_regions(settings),
    ]


def route_warnings(settings: Settings, route: str) -> list[str]:
    """Whether no route asks for what a job is submitted for; without routes that is not known here."""
    named = [name for each in settings.routes for name in each.match.route]
    if not route or not settings.routes or route in named:
        return []
    warning = (
        f"no route in the settings has match.route = {route!r}{_guess(route, named)}; "
        "the result goes to the first route whose other conditions match, if any"
    )
    return [warning]


def _functions(settings: Settings) -> Iterator[str]:
    named = [
        (f"routes[{place}].match.function", name)
        for place, route in enumerate(settings.routes)
        for name in route.match.function
    ]
    deadlines = [name for name in settings.reconcile.deadlines if name not in KIND_NAMES]
    for where, name in (*named, *(("reconcile.deadlines", name) for name in deadlines)):
        if name not in FUNCTIONS:
            yield (
                f"{where}: {name!r} is not a documented function{_guess(name, list(FUNCTIONS))}; "
                "it applies only to jobs whose function is spelled exactly like this"
            )


def _types(settings: Settings) -> Iterator[str]:
    """Types that differ only a little from a known one. The set of types is open, so others are no reason to warn."""
    for place, route in enumerate(settings.routes):
        for name in route.match.type:
            if near := _misspelled_type(name):
                yield (
                    f"routes[{place}].match.type: {name!r} is not a known type (did you mean {near!r}?); "
                    "the route gets only results whose type is spelled like this"
                )


def _misspelled_type(name: str) -> str:
    """The known type that was probably meant; empty if this may be another one."""
    folded = name.casefold()
    if folded in _TYPES:
        return ""
    like_event = is_complete(name) or is_start(name)
    near = get_close_matches(folded, _TYPES, n=1, cutoff=0.9 if like_event else 0.75)
    return _TYPES[near[0]] if near else ""


def _hidden_routes(settings: Settings) -> Iterator[str]:
    for rule, earlier in hidden_rules(settings.rules()):
        yield (
            f"the route {rule.name!r} never gets a result: the earlier route {earlier.name!r} matches "
            "whatever it matches; move the narrower route to the front"
        )


def _pulled(settings: Settings) -> Iterator[str]:
    for route in settings.routes:
        if any(handler.use == "pull" for handler in route.handlers) and not settings.http.serves_api:
            yield (
                f"the route {route.name!r} leaves its results to applications, but they cannot pull them from this "
                'daemon: set http.token_file, or http.listen = "unix:/path", and http.api = true'
            )


def _regions(settings: Settings) -> Iterator[str]:
    for name in ("", *settings.tenants):
        yield from _region(mps_section(name), settings.tenant(name).mps)


def _region(where: str, mps: MpsSettings) -> Iterator[str]:
    region, notified = mps.region, region_of(mps.notify_url)
    # An endpoint of its own may be in any region.
    if region and not mps.endpoint and region not in REGIONS:
        yield (
            f"{where}.region = {region!r} is not a region of MPS that this release knows"
            f"{_guess(region, REGIONS)}; known: {', '.join(REGIONS)}"
        )
    if region and notified and region != notified:
        yield (
            f"{where}.notify_url is in {notified}, but {where}.region = {region!r}: "
            "MPS sends callbacks only to queues in its own region"
        )


def _guess(name: str, known: list[str] | tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
