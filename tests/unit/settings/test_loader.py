"""Settings: what is accepted, and how errors are reported with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from listener.core.errors import SettingsError
from listener.formats.queue_url import split_queue_url
from listener.rules.backoff import Backoff
from listener.rules.retry import RetryPolicy
from listener.settings.loader import load
from listener.settings.section_types import section_or_none
from listener.settings.sections import Settings
from listener.settings.variable_names import setting_names
from tests.support.cases import each_case
from tests.support.settings_names import BASE

QUEUE_URL = "mns://123.mns.cn-shanghai.aliyuncs.com/queues/mps-callbacks"
WHOLE = f"""
[[queues]]
url = "{QUEUE_URL}"

[[routes]]
name = "videos"
match = {{ function = "VideoH2V", state = ["Success", "Fail"] }}
handlers = [{{ use = "webhook", url = "https://example.com", name = "hook" }}, {{ use = "log" }}]
retry = {{ max_attempts = 3, initial_backoff = "2s" }}

[[routes]]
name = "rest"
handlers = [{{ use = "log" }}]
"""


def loaded(text: str = "", **environ: str) -> Settings:
    return load(
        text, {f"MNS_LISTENER_{name}": value for name, value in environ.items()}, source="listener.toml"
    )


def test_everything_has_a_default_but_the_work() -> None:
    settings = loaded()

    assert settings == Settings()
    with pytest.raises(SettingsError, match=r"no \[\[queues\]\].*at least one"):
        settings.require_work()
    with pytest.raises(SettingsError, match=r"no \[\[routes\]\]"):
        loaded(f'queues = [{{url = "{QUEUE_URL}"}}]').require_work()


def settings_under(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str, bool]]:
    """Every setting of a section and of those below: section, name and whether it must be given."""
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model.__name__, name, field.is_required()
        below = section_or_none(field.annotation)
        if below and below not in seen:
            yield from settings_under(below, seen)


def test_only_what_names_a_route_or_handler_must_be_given() -> None:
    required = {(section, name) for section, name, must in settings_under(Settings, set()) if must}

    assert required == {("RouteSettings", "name"), ("RouteSettings", "handlers"), ("HandlerSettings", "use")}


def test_a_whole_file() -> None:
    settings = loaded(WHOLE)
    settings.require_work()

    (queue,) = settings.queues
    assert (queue.endpoint, queue.queue, queue.label) == (
        "https://123.mns.cn-shanghai.aliyuncs.com",
        "mps-callbacks",
        "mps-callbacks",
    )
    first, rest = settings.rules()
    assert (first.name, first.handlers, first.match.function) == ("videos", ("hook", "log"), ("VideoH2V",))
    assert first.retry == RetryPolicy(
        max_attempts=3, backoff=Backoff(timedelta(seconds=2), timedelta(minutes=10))
    )
    assert rest.retry == RetryPolicy()
    assert settings.routes[0].handlers[0].options == {"url": "https://example.com"}


def test_the_environment_wins() -> None:
    settings = loaded(WHOLE, QUEUES__0__WAIT="5s", DISPATCH__CONCURRENCY="2", STORE__URL="sqlite:///x.db")

    assert (settings.queues[0].wait, settings.dispatch.concurrency) == (timedelta(seconds=5), 2)
    assert settings.store.url == "sqlite:///x.db"


def test_all_of_it_may_come_from_the_environment() -> None:
    routes = '[{name = "all", handlers = [{use = "log"}]}]'

    loaded(QUEUES__0__URL=QUEUE_URL, ROUTES=routes).require_work()


@each_case(
    ("written", "recorded"),
    [
        ("Failed", "Fail"),
        ("TranscodeSuccess", "Success"),
        ("completed", "Success"),
        ("canceled", "Cancelled"),
        ("LOST", "Lost"),
        ("processing", "Processing"),
    ],
)
def test_states_are_matched_as_they_are_recorded(written: str, recorded: str) -> None:
    text = f'[[routes]]\nname = "a"\nhandlers = [{{use = "log"}}]\nmatch = {{state = "{written}"}}'

    (rule,) = loaded(text).rules()

    assert rule.match.state == (recorded,)


def test_states_of_activities_are_matched_as_they_are_recorded() -> None:
    text = (
        '[[routes]]\nname = "a"\nhandlers = [{use = "log"}]\nmatch = {activity_state = ["skipped", "FAILED"]}'
    )

    (rule,) = loaded(text).rules()

    assert rule.match.activity_state == ("Skipped", "Fail")


def test_members_of_the_callback_may_come_from_a_variable() -> None:
    routes = '[{name = "a", handlers = [{use = "log"}]}]'

    (rule,) = loaded(ROUTES=routes, ROUTES__0__MATCH__CALLBACK='{ Result = "Block", "A.b" = [1, 2] }').rules()

    assert rule.match.callback == {"Result": "Block", "A.b": [1, 2]}


def test_what_the_url_says_may_be_overridden() -> None:
    settings = loaded(f'[[queues]]\nurl = "{QUEUE_URL}"\nendpoint = "http://127.0.0.1:8470"\nname = "mine"')

    queue = settings.queues[0]
    assert (queue.endpoint, queue.queue, queue.label) == ("http://127.0.0.1:8470", "mps-callbacks", "mine")


@each_case(
    ("text", "message"),
    [
        pytest.param("x = [", "is not valid TOML: ", id="no-toml"),
        pytest.param("[sotre]", "sotre is an unknown key; valid keys: store, ", id="unknown-section"),
        pytest.param("[store]\nulr = 1", "store.ulr is an unknown key; valid keys: url", id="unknown-key"),
        pytest.param(
            '[[queues]]\nurll = "x"',
            "queues[0].urll is an unknown key; valid keys: url, ",
            id="unknown-in-list",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{use = "log"}]\nmatch = {states = 1}',
            "routes[0].match.states is an unknown key; valid keys: route, ",
            id="unknown-below-a-list",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{use = "log"}]\nretry = {max = 1}',
            "routes[0].retry.max is an unknown key; valid keys: max_attempts, ",
            id="unknown-in-an-optional-section",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{use = "log"}]\nmatch = {state = ["Fail", "Broken"]}',
            "routes[0].match.state: 'Broken' is not a known state; use one of Success, Fail, Cancelled, Lost, ",
            id="unknown-state",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{use = "log"}]\nmatch = {activity_state = "Lost"}',
            "routes[0].match.activity_state = 'Lost' is not a known state; use one of Success, Fail, Cancelled, ",
            id="unknown-state-of-activities",
        ),
        pytest.param("[dispatch]\nconcurrency = 0", "dispatch.concurrency = 0: ", id="too-small"),
        pytest.param(
            "[dispatch]\nconcurrency = true", "dispatch.concurrency = true: must be a number", id="true"
        ),
        pytest.param('[dispatch]\nconcurrency = "many"', "dispatch.concurrency = 'many': ", id="no-number"),
        pytest.param(
            '[dispatch]\nlease = "soon"',
            "dispatch.lease = 'soon' is not a valid duration; use ",
            id="no-duration",
        ),
        pytest.param(
            '[correlation]\nunknown = "keep"',
            "correlation.unknown = 'keep': must be 'deliver', 'dead-letter' or 'drop'",
            id="choice",
        ),
        pytest.param('[log]\nlevel = "loud"', "log.level = 'loud': must be 'debug', 'info'", id="level"),
        pytest.param("store = 5", "store must be a table; use [store]", id="no-section"),
        pytest.param(
            'routes = [{name = "a", handlers = ["log"]}]',
            "routes[0].handlers[0] must be a table; use { key = value }",
            id="no-table",
        ),
        pytest.param("queues = 5", "queues must be an array of tables; use [[queues]]", id="no-list"),
        pytest.param("[[routes]]\nhandlers = []", "routes[0].name is missing; add name = ", id="missing"),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{}]',
            "routes[0].handlers[0].use is missing; add use = ",
            id="no-use",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = []', "routes[0].handlers: must not be empty", id="no-handlers"
        ),
        pytest.param("[[queues]]\nwait = 31", "queues[0].wait = 31: must be between 0s and 30s", id="wait"),
        pytest.param(
            '[retry]\nmax_backoff = "9999999d"',
            "retry.max_backoff = '9999999d' is too long; use at most 3650d",
            id="endless-back-off",
        ),
        pytest.param(
            '[dispatch]\nlease = "2d"', "dispatch.lease = '2d': must be between 2s and 1d", id="long-lease"
        ),
        pytest.param(
            '[reconcile.deadlines]\nCover = "367d"',
            "reconcile.deadlines.Cover = '367d': must be between 0s and 366d",
            id="deadline-of-a-function",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{ use = "log" }]\ndeadline = "367d"',
            "routes[0].deadline = '367d': must be between 0s and 366d",
            id="deadline-of-a-route",
        ),
        pytest.param("[retry]\nmax_attempts = " + "9" * 5000, "is not valid TOML: ", id="many-digits"),
        pytest.param("[retry]\nmax_attempts = 0x" + "f" * 5000, "is not valid TOML: ", id="many-hex-digits"),
        pytest.param("[[queues]]\nbatch = 17", "queues[0].batch = 17: ", id="batch"),
        pytest.param("[[queues]]\n", "queues[0]: set url = ", id="no-url"),
        pytest.param(
            '[[queues]]\nurl = "mps"',
            "queues[0]: 'mps' is not a valid queue URL; expected mns://",
            id="bad-url",
        ),
        pytest.param(
            '[[queues]]\nqueue = "q"\nendpoint = "mns.example.com"',
            "queues[0]: endpoint = 'mns.example.com' must be http(s)://",
            id="endpoint-without-scheme",
        ),
        pytest.param(
            '[credentials]\naccess_key_id_file = "/x"',
            "credentials: access_key_id_file and access_key_secret_file belong together",
            id="half-a-key",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_the_way_out(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(text)

    assert any(
        line.startswith("listener.toml") and message in line for line in str(caught.value).splitlines()
    ), f"{message!r} is not in {caught.value}"


#: By how they are written.
VALUES = (
    *("true", "7", "-3", "2.5", "1e300", "2026-11-26", "[1]", "{ x = 1 }", "[{}]", '""', '"text"'),
    *(f'"{"x" * 300}"', f"0x{'f' * 5000}"),
)
#: Parts of what pydantic and Python would say.
FOREIGN = re.compile(
    r"Input|should|valid (string|integer|number|boolean|tuple|dict|list)|datetime|Tuple|None|True|False|\d item"
)

SOURCE = re.compile(r"(listener\.toml|MNS_LISTENER_\w+)( and MNS_LISTENER_\w+)*: ")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:9])
def test_errors_are_in_plain_words_and_values_as_they_are_written(value: str) -> None:
    found = []
    for name in setting_names():
        try:
            load(BASE, {name: value}, source="listener.toml")
        except SettingsError as error:
            found += str(error).splitlines()

    assert len(found) > 10
    assert [line for line in found if FOREIGN.search(line)] == []
    assert [line for line in found if not SOURCE.match(line)] == []


@each_case(
    ("text", "environ", "source"),
    [
        pytest.param(
            'dispatch.lease = "1m"', {"DISPATCH__LEASE": "5x"}, "MNS_LISTENER_DISPATCH__LEASE", id="wins"
        ),
        pytest.param('dispatch.lease = "5x"', {"DISPATCH__CONCURRENCY": "5"}, "listener.toml", id="another"),
        pytest.param("", {"QUEUES": "[{batch = 99}]"}, "MNS_LISTENER_QUEUES", id="within-an-array"),
        pytest.param(
            "",
            {"QUEUES": f'[{{url = "{QUEUE_URL}"}}]', "QUEUES__0__BATCH": "99"},
            "MNS_LISTENER_QUEUES__0__BATCH",
            id="into-an-array",
        ),
        pytest.param("", {"SURPRISE__KEY": "1"}, "MNS_LISTENER_SURPRISE__KEY", id="unknown"),
        pytest.param("", {"ROUTES__0__NAME": "x"}, "MNS_LISTENER_ROUTES__0__NAME", id="missing-beside-it"),
        pytest.param(
            f'[[queues]]\nurl = "{QUEUE_URL}"',
            {"QUEUES__0__ENDPOINT": "x"},
            "listener.toml and MNS_LISTENER_QUEUES__0__ENDPOINT",
            id="both",
        ),
        pytest.param(
            '[[routes]]\nname = "a"\nhandlers = [{}]',
            {"ROUTES__0__NAME": "b"},
            "listener.toml",
            id="beside-one",
        ),
    ],
)
def test_an_error_names_the_file_or_the_variable_that_it_comes_from(
    text: str, environ: dict[str, str], source: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(text, **environ)

    assert str(caught.value).startswith(f"{source}: ")


def test_errors_of_variables_and_of_the_file_are_reported_together_one_per_line() -> None:
    wrong = "MNS_LISTENER_STORE_URL"
    with pytest.raises(SettingsError) as caught:
        loaded("dispatch.concurrency = 2.5\nstore.ulr = 1", STORE_URL="x", LOG__LEVEL="Loud")

    assert sorted(str(caught.value).splitlines()) == [
        "MNS_LISTENER_LOG__LEVEL: log.level = 'Loud': must be 'debug', 'info', 'warning' or 'error'",
        f"environment variable {wrong} does not match any setting; did you mean MNS_LISTENER_STORE__URL?",
        "listener.toml: dispatch.concurrency = 2.5: must be a whole number",
        "listener.toml: store.ulr is an unknown key; valid keys: url, retention, timeout, shared",
    ]


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert loaded('[log]\nlevel = "INFO"').log.level == "info"


BOUNDED = (
    *(
        "store.retention",
        "store.timeout",
        "http.max_connections",
        "mps.rate_limit",
        "correlation.wait",
        "dispatch.concurrency",
        "dispatch.lease",
    ),
    *(
        "dispatch.handler_timeout",
        "dispatch.no_handler_timeout",
        "dispatch.overrun_timeout",
        "retry.max_attempts",
        "retry.max_elapsed",
        "retry.initial_backoff",
    ),
    *("retry.max_backoff", "reconcile.deadline", "reconcile.interval", "reconcile.initial_backoff"),
    *("reconcile.max_backoff", "reconcile.timeout", "enrich.max_wait", "service.shutdown_timeout"),
)


def test_every_duration_and_number_is_listed_as_bounded() -> None:
    measured = [
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for name, below in field.annotation.model_fields.items()
        if below.annotation in (timedelta, int, float)
    ]

    assert sorted(measured) == sorted(BOUNDED)


@each_case("name", BOUNDED)
@each_case("value", ["9" * 30, "1e300", "9" * 5000, '"9999999d"'])
def test_a_huge_value_is_refused_with_its_name_and_value(name: str, value: str) -> None:
    section, _, key = name.partition(".")

    with pytest.raises(SettingsError) as refusal:
        loaded(**{f"{section}__{key}".upper(): value})

    variable = f"MNS_LISTENER_{section}__{key}".upper()
    assert str(refusal.value).startswith(f"{variable}: {name} = ")
    assert len(str(refusal.value)) < 1000


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        loaded('[dispatch]\nconcurrency = 0\n[store]\nulr = "x"')

    assert len(str(caught.value).splitlines()) == 2


@each_case(
    ("text", "message"),
    [
        (
            'routes = [{name="a", handlers=[{use="log"}]}, {name="a", handlers=[{use="log"}]}]',
            "two routes have the name 'a'",
        ),
        ('routes = [{name="a", handlers=[{use="log"}, {use="log"}]}]', "two handlers have the name 'log'"),
        (
            f'queues = [{{url="{QUEUE_URL}"}}, {{url="{QUEUE_URL}"}}]',
            "two queues have the name 'mps-callbacks'",
        ),
    ],
)
def test_names_must_differ(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        loaded(text)


@each_case(
    ("url", "endpoint"),
    [
        (QUEUE_URL, "https://123.mns.cn-shanghai.aliyuncs.com"),
        ("mns://123.oss-cn-shanghai.aliyuncs.com/queues/q", "https://123.mns.cn-shanghai.aliyuncs.com"),
        ("http://127.0.0.1:8470/queues/q/", "http://127.0.0.1:8470"),
    ],
)
def test_a_queue_url_is_taken_apart(url: str, endpoint: str) -> None:
    assert split_queue_url(url)[0] == endpoint


@each_case(
    "url",
    ["", "q", "mns://h", "mns://h/queues/", "mns://h/topics/t", "ftp://h/queues/q", "mns://h/queues/a/b"],
)
def test_what_is_no_queue_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not a valid queue URL; expected mns://"):
        split_queue_url(url)


def test_settings_do_not_change() -> None:
    settings: Any = loaded()

    with pytest.raises(ValueError, match="frozen"):
        settings.store.url = "other"


def test_key_files_are_paths() -> None:
    keys = loaded('[credentials]\naccess_key_id_file = "/a"\naccess_key_secret_file = "/b"').credentials

    assert (keys.access_key_id_file, keys.access_key_secret_file) == (Path("/a"), Path("/b"))
