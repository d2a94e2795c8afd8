"""``check`` says what is wrong, in words and as an exit status, and changes nothing."""

from __future__ import annotations

import json
import resource
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener.checks import all_checks
from listener.core.errors import ListenerError, SettingsError
from listener.daemon.daemon import Daemon
from listener.emulator.faults import Fault, FaultKind
from listener.http.address import bind
from listener.settings.loader import settings_from
from listener.store.daemon_lock import DaemonLock
from tests.support import postgres
from tests.support.builders import an_accepted_job
from tests.support.command_line import Invoke
from tests.support.emulator_clients import BareMps
from tests.support.program import ALL_TO_FILE, NOTIFY_URL, QUEUE, SECRET, Place, unused_endpoint
from tests.support.raw_server import http_reply, serving


def test_all_well(place: Place, printed: Callable[..., Any]) -> None:
    place.send("job-1")
    answer = printed("check")

    assert (answer["level"], answer["exit_code"]) == ("ok", 0)
    assert {tuple(one) for one in answer["checks"]} == {("level", "name", "detail", "advice")}
    assert list(details(answer)) == [
        *("settings", "single daemon", "store", "disk space", "store files", "handlers"),
        *("http", "clients", "log", "access key", "queue mps-callbacks", "clock", "notify url", "mps"),
    ]
    assert "about 1 messages waiting, 0 received and not deleted" in details(answer)["queue mps-callbacks"]
    assert place.messages_left() == 1


HIDDEN = (
    ALL_TO_FILE
    + """
[[routes]]
name = "never"
match = {{ function = "Cover" }}
handlers = [{{ use = "log" }}]
"""
)


def test_a_warning_does_not_fail_the_check(place: Place, printed: Callable[..., Any], invoke: Invoke) -> None:
    place.settings(HIDDEN)
    words = "the route 'never' never gets a result"

    answer, result = printed("check"), invoke("check")

    assert answer["level"] == "warning"
    assert [one["detail"][: len(words)] for one in not_ok(answer)] == [words]
    assert f"warning\tsettings\t{words}" in result.stdout
    assert (result.exit_code, result.stderr) == (0, "")


def test_accepted_jobs_that_no_daemon_submits_are_a_warning(
    place: Place, printed: Callable[..., Any]
) -> None:
    place.settings()
    assert not_ok(printed("check")) == []
    for tenant in ("shop", ""):
        with place.store() as store:
            store.accept_jobs([an_accepted_job(f"of-{tenant}", tenant=tenant)])

    (found,) = not_ok(printed("check"))
    assert (found["level"], found["name"]) == ("warning", "accepted jobs shop")
    assert "[tenants.shop.mps]" in found["detail"]


@pytest.mark.parametrize(
    ("settings", "exit_code", "name", "words"),
    [
        pytest.param({"dispatch__concurrency": "0"}, 78, "settings", "dispatch.concurrency", id="settings"),
        pytest.param({"queues": "[]"}, 78, "settings", "[[queues]]", id="no-queues"),
        pytest.param({"queues__0__endpoint": "http://["}, 78, "settings", "queues[0]", id="no-url"),
        pytest.param({"store__url": "sqlite:////proc/l.db"}, 69, "single daemon", "writable", id="store"),
        pytest.param({"routes__0__handlers__0__use": "x"}, 78, "handlers", "available", id="handler"),
        pytest.param({"queues__0__queue": "other"}, 69, "queue other", "QueueNotExist", id="no-such-queue"),
        pytest.param({"queues__0__endpoint": "http://h:no"}, 78, "", "", id="port"),
    ],
)
def test_each_trouble_has_its_words_and_its_exit_status(
    place: Place,
    printed: Callable[..., Any],
    settings: dict[str, str],
    exit_code: int,
    name: str,
    words: str,
) -> None:
    answer = printed("check", exit_code=exit_code, **settings)

    (bad, *_) = not_ok(answer)
    assert (answer["level"], bad["level"]) == ("failed", "failed")
    assert bad["name"].startswith(name)
    assert words in bad["detail"]


def test_each_error_of_the_settings_is_a_row_of_its_own(place: Place, invoke: Invoke) -> None:
    result = invoke("check", dispatch__lease="5x", store_url="x")

    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert result.exit_code == 78
    assert [row[:2] for row in rows] == [["FAILED", "settings"]] * 2
    assert "MNS_LISTENER_STORE_URL" in rows[0][2]
    assert rows[1][2].startswith(
        "MNS_LISTENER_DISPATCH__LEASE: dispatch.lease = '5x' is not a valid duration"
    )


TWO_BROKEN = """
[[routes]]
name = "first"
match = {{ function = "Cover" }}
handlers = [{{ use = "nonsense" }}, {{ use = "log" }}]

[[routes]]
name = "second"
handlers = [{{ use = "command", argv = ["/nowhere/program"] }}]
"""


def test_each_broken_handler_is_a_row_of_its_own_and_run_names_all_of_them(
    place: Place, printed: Callable[..., Any]
) -> None:
    place.settings(TWO_BROKEN)
    with pytest.raises(SettingsError) as refused:
        Daemon(settings_from(place.folder / "listener.toml")).start()
    rows = not_ok(printed("check", exit_code=78))

    assert [row["name"] for row in rows] == ["handlers", "handlers"]
    assert [row["detail"].split(":")[0] for row in rows] == [
        "routes.first.handlers[0]",
        "routes.second.handlers[0]",
    ]
    assert tuple(row["detail"] for row in rows) == refused.value.messages


def test_the_exit_status_is_that_of_the_worst_failure(place: Place, printed: Callable[..., Any]) -> None:
    """What is unavailable may come back; invalid settings never work."""
    answer = printed("check", exit_code=78, queues__0__queue="other", routes__0__handlers__0__use="x")

    failed = [one["name"] for one in answer["checks"] if one["level"] == "failed"]
    assert failed == ["handlers", "queue other"]


def test_attributes_that_do_not_suit_are_warnings(
    place: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    place.create_queue(delay_seconds=300, message_retention_period=3600, maximum_message_size=1024)
    answer = printed("check")

    warnings = {one["name"]: one for one in not_ok(answer)}
    assert list(warnings) == [
        *("queue retention mps-callbacks", "queue delay mps-callbacks"),
        "queue message size mps-callbacks",
    ]
    assert {one["level"] for one in warnings.values()} == {"warning"}
    assert "visible 5m after it was sent" in warnings["queue delay mps-callbacks"]["detail"]
    assert all(one["advice"] for one in warnings.values())
    assert (
        "(DelaySeconds); set DelaySeconds of the queue to 0 s, as `mns-listener setup --fix` does\n"
        in invoke("check").stdout
    )


def test_a_key_that_may_not_read_the_attributes_is_a_note_and_no_failure(
    place: Place, printed: Callable[..., Any]
) -> None:
    denied = http_reply(b"<Error><Code>AccessDenied</Code></Error>", status="403 Forbidden")
    with serving([denied]) as raw:
        answer = printed("check", queues__0__endpoint=raw.url)

    (queue,) = [one for one in answer["checks"] if one["name"] == "queue mps-callbacks"]
    assert (queue["level"], "mns:GetQueueAttributes" in queue["advice"]) == ("ok", True)


def test_a_database_that_cannot_hold_every_text_is_reported(
    place: Place, printed: Callable[..., Any]
) -> None:
    url = postgres.server().new_database(encoding="LATIN1")
    answer = printed("check", exit_code=78, store__url=url)

    (bad,) = [one for one in answer["checks"] if one["name"] == "store"]
    assert "createdb --encoding UTF8" in bad["detail"]


def test_queue_that_cannot_be_reached(place: Place, invoke: Invoke) -> None:
    result = invoke("check", queues__0__endpoint=unused_endpoint())

    assert (result.exit_code, "connection refused" in result.stdout) == (69, True)
    assert [line for line in result.stdout.splitlines() if line != line.rstrip()] == []


def test_wrong_key_is_reported_and_never_printed(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"not-{SECRET}")
    result = invoke("check")

    assert (result.exit_code, "belong together" in result.stdout) == (69, True)
    assert SECRET not in result.output


def test_no_key_at_all(place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    from alibabacloud_credentials.utils import auth_util

    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    # The package reads the environment when it is imported, which an earlier test may have done.
    monkeypatch.setattr(auth_util, "environment_access_key_id", None)
    monkeypatch.setenv("HOME", str(place.folder))  # where no profile is
    result = invoke("check")

    assert (result.exit_code, "ALIBABA_CLOUD_ACCESS_KEY_ID" in result.stdout) == (69, True)


def lock_store(place: Place) -> object:
    return DaemonLock.acquire(f"sqlite:///{place.folder}/listener.db")


def take_socket(place: Place) -> object:
    return bind(f"unix:{place.folder}/taken.sock")


def make_newer(place: Place) -> object:
    with closing(sqlite3.connect(place.folder / "listener.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    return None


def spoil_store(place: Place) -> object:
    (place.folder / "listener.db").write_text("These are the minutes of our meeting. " * 100)
    return None


def nothing(_place: Place) -> object:
    return None


@pytest.mark.parametrize(
    ("prepare", "settings"),
    [
        pytest.param(nothing, {"http__listen": "0.0.0.0:8471"}, id="address-for-everybody"),
        pytest.param(nothing, {"http__listen": "unix:/nowhere/http.sock"}, id="no-folder-for-the-socket"),
        pytest.param(take_socket, {"http__listen": "unix:taken.sock"}, id="taken-socket"),
        pytest.param(lock_store, {}, id="locked-store"),
        pytest.param(spoil_store, {}, id="no-database"),
        pytest.param(make_newer, {}, id="newer-schema"),
        pytest.param(nothing, {"store__url": "sqlite:////nonexistent/l.db"}, id="no-folder-for-the-store"),
        pytest.param(nothing, {"store__url": "sqlite:////proc/l.db"}, id="unwritable-folder"),
        pytest.param(nothing, {"store__url": "sqlite://"}, id="store-in-memory"),
        pytest.param(nothing, {"store__url": "mysql://h/n"}, id="unsupported-database"),
        pytest.param(nothing, {"routes__0__handlers__0__use": "x"}, id="unknown-handler"),
        pytest.param(nothing, {"routes__0__handlers__0__path": "/nowhere/x"}, id="option-of-a-handler"),
        pytest.param(nothing, {"mps__endpoint": "nonsense"}, id="endpoint-of-mps"),
        pytest.param(nothing, {"queues__0__endpoint": "http://h:no"}, id="endpoint-of-a-queue"),
        pytest.param(
            nothing,
            {"credentials__access_key_id_file": "none", "credentials__access_key_secret_file": "none"},
            id="key-files",
        ),
        pytest.param(
            nothing, {"tenants__one__mps__endpoint": "nonsense", "queues__0__tenant": "one"}, id="tenant"
        ),
    ],
)
def test_what_run_refuses_check_refuses_in_the_same_words(
    place: Place,
    printed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Place], Any],
    settings: dict[str, str],
) -> None:
    prepared = prepare(place)
    for name, value in settings.items():
        monkeypatch.setenv(f"MNS_LISTENER_{name.upper()}", value)
    with pytest.raises(ListenerError) as refused, capture_logs():
        Daemon(settings_from(place.folder / "listener.toml")).start()

    answer = printed("check", "-c", str(place.folder / "listener.toml"), exit_code=refused.value.exit_code)
    assert str(refused.value) in [one["detail"] for one in not_ok(answer)]
    if isinstance(prepared, DaemonLock):
        prepared.release()
    elif isinstance(prepared, socket.socket):
        prepared.close()


def test_a_taken_port_is_refused(place: Place, printed: Callable[..., Any]) -> None:
    with bind("127.0.0.1:0") as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = printed("check", exit_code=69, http__listen=listen)

    assert f"http.listen = '{listen}': Address already in use" in details(answer)["http"]


def details(answer: Any) -> dict[str, str]:
    return {one["name"]: one["detail"] for one in answer["checks"]}


def not_ok(answer: Any) -> list[dict[str, str]]:
    return [one for one in answer["checks"] if one["level"] != "ok"]


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "unix:{folder}/http.sock"], ids=["tcp", "unix"])
def test_the_running_daemon_of_the_same_store_is_no_trouble(
    place: Place, printed: Callable[..., Any], listen: str
) -> None:
    port = unused_endpoint().rpartition(":")[2]
    address = listen.format(port=port, folder=place.folder)
    daemon = place.run(http__listen=address).ready()
    found = details(printed("check", http__listen=address))

    name = f":{daemon.process.pid}:"
    assert all(name in found[check] for check in ("single daemon", "http", "store"))


def test_the_daemon_of_another_store_at_the_same_address_is_refused_with_its_name(
    place: Place, printed: Callable[..., Any]
) -> None:
    address = f"unix:{place.folder}/http.sock"
    daemon = place.run(http__listen=address, store__url="sqlite:///other.db").ready()
    answer = printed("check", exit_code=69, http__listen=address)

    assert f":{daemon.process.pid}:" in details(answer)["http"]
    assert "of another store listens there" in details(answer)["http"]


def test_a_stale_socket_is_no_trouble_and_nothing_listens_after_the_check(
    place: Place, printed: Callable[..., Any]
) -> None:
    path = place.folder / "http.sock"
    bind(f"unix:{path}").close()  # as a killed daemon leaves it
    printed("check", http__listen=f"unix:{path}")

    assert not path.exists()


def test_a_store_that_would_be_created_is_not_created_by_the_check(
    place: Place, printed: Callable[..., Any]
) -> None:
    before = sorted(place.folder.iterdir())
    answer = printed("check", store__url="sqlite:///new.db")

    assert details(answer)["store"] == "sqlite:///new.db: `run` will create it"
    assert sorted(place.folder.iterdir()) == before


def test_an_empty_postgresql_database_stays_empty(place: Place, printed: Callable[..., Any]) -> None:
    url = postgres.server().new_database()
    answer = printed("check", store__url=url)

    assert "`run` will create it" in details(answer)["store"]
    name = url.partition("@/")[2].partition("?")[0]
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert postgres.server().execute(tables, database=name) == [(0,)]


def test_a_role_that_may_not_create_tables_is_refused(place: Place, printed: Callable[..., Any]) -> None:
    server = postgres.server()
    name = server.new_database().partition("@/")[2].partition("?")[0]
    server.execute(f'CREATE ROLE "guest_{name}" LOGIN')
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=name)
    answer = printed("check", exit_code=69, store__url=server.url(name, user=f"guest_{name}"))

    assert "grant the user of store.url all rights" in details(answer)["store"]


def test_an_older_schema_is_not_migrated_by_the_check(place: Place, printed: Callable[..., Any]) -> None:
    with closing(sqlite3.connect(place.folder / "listener.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '0001'")

    assert "schema 0001, which `run` migrates to" in details(printed("check"))["store"]
    with closing(sqlite3.connect(place.folder / "listener.db")) as store:
        assert store.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow beyond the size of SQLite's index of the log; Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("url", ["", "sqlite:///new.db"], ids=["existing", "new"])
def test_a_full_disk_is_refused(place: Place, printed: Callable[..., Any], url: str) -> None:
    settings = {"store__url": url} if url else {}
    with full_disk():
        answer = printed("check", exit_code=69, **settings)

    assert [one["name"] for one in not_ok(answer)] == ["store"]


def test_the_queue_of_a_tenant_is_asked_with_the_keys_of_that_tenant(
    place: Place, printed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: Path = place.folder
    (keys / "id").write_text("testKeyId")
    (keys / "secret").write_text(SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"not-{SECRET}")
    answer = printed(
        "check",
        queues__0__tenant="one",
        mps__endpoint="",
        tenants__one__credentials__access_key_id_file="id",
        tenants__one__credentials__access_key_secret_file="secret",
    )

    assert {"access key one", "queue mps-callbacks"} <= details(answer).keys()


def test_a_wrong_key_of_a_tenant_fails_although_the_other_key_is_right(
    place: Place, printed: Callable[..., Any]
) -> None:
    (place.folder / "id").write_text("testKeyId")
    (place.folder / "secret").write_text(f"not-{SECRET}")
    answer = printed(
        "check",
        exit_code=69,
        queues__0__tenant="one",
        mps__endpoint="",
        tenants__one__credentials__access_key_id_file="id",
        tenants__one__credentials__access_key_secret_file="secret",
    )

    assert [one["name"] for one in not_ok(answer)] == ["queue mps-callbacks"]


def add_pipeline(place: Place, **notify: str) -> str:
    """A pipeline at the emulator; returns its id."""
    bare = BareMps(place.server.url)
    with closing(bare.http):
        reply = bare.call("AddPipeline", Name="mine", NotifyConfig=json.dumps(notify))
    return str(reply.json()["Pipeline"]["Id"])


def row(answer: Any, name: str) -> dict[str, str]:
    (found,) = [one for one in answer["checks"] if one["name"] == name]
    return dict(found)


def test_mps_is_asked_without_changing_anything(place: Place, printed: Callable[..., Any]) -> None:
    answer = printed("check")

    assert "this key may use QueryIProductionJob" in row(answer, "mps")["detail"]
    assert (place.asked("QueryIProductionJob"), place.asked("SubmitIProductionJob")) == (1, 0)


def test_a_dead_endpoint_of_mps_is_reported(place: Place, printed: Callable[..., Any]) -> None:
    answer = printed("check", exit_code=69, mps__endpoint=unused_endpoint())

    assert [one["name"] for one in not_ok(answer)] == ["mps"]
    assert "connection refused" in row(answer, "mps")["detail"]
    assert row(answer, "mps")["advice"]


def test_a_key_that_mps_rejects_is_reported_for_its_tenant_alone(
    place: Place, printed: Callable[..., Any]
) -> None:
    (place.folder / "id").write_text("testKeyId")
    (place.folder / "secret").write_text(f"not-{SECRET}")
    answer = printed(
        "check",
        exit_code=69,
        tenants__one__mps__endpoint=place.server.url,
        tenants__one__credentials__access_key_id_file="id",
        tenants__one__credentials__access_key_secret_file="secret",
    )

    assert [one["name"] for one in not_ok(answer)] == ["mps one"]
    assert "belong together" in row(answer, "mps one")["advice"]
    assert row(answer, "mps")["level"] == "ok"


CLOSED_JSON = "Content-Type: application/json\r\nConnection: close\r\n"
DENIED = http_reply(
    b'{"Code": "Forbidden.RAM", "Message": "not authorized"}',
    status="403 Forbidden",
    headers=CLOSED_JSON,
)
NO_SUCH_JOB = http_reply(
    b'{"Code": "InvalidParameter.ResourceNotFound", "Message": "no such job"}',
    status="400 Bad Request",
    headers=CLOSED_JSON,
)
BUSY = http_reply(
    b'{"Code": "Throttling.User", "Message": "too many"}',
    status="400 Bad Request",
    headers=CLOSED_JSON,
)


@pytest.mark.parametrize(
    ("replies", "exit_code", "name", "level", "words"),
    [
        pytest.param([DENIED], 69, "mps", "failed", "mts:QueryIProductionJob", id="may-not-query"),
        pytest.param([BUSY], 0, "mps", "warning", "check again", id="throttled"),
        pytest.param(
            [NO_SUCH_JOB, DENIED], 0, "pipeline", "warning", "mts:QueryPipelineList", id="may-not-list"
        ),
        pytest.param([NO_SUCH_JOB, b""], 69, "pipeline", "failed", "check again", id="then-gone"),
        pytest.param([NO_SUCH_JOB, NO_SUCH_JOB], 78, "pipeline", "failed", "id of a pipeline", id="no-id"),
        pytest.param([NO_SUCH_JOB, BUSY], 0, "pipeline", "warning", "check again", id="then-busy"),
    ],
)
def test_what_mps_does_not_allow_is_named_with_the_action_that_is_missing(
    printed: Callable[..., Any],
    place: Place,
    replies: list[bytes],
    exit_code: int,
    name: str,
    level: str,
    words: str,
) -> None:
    with serving(*([reply] for reply in replies)) as raw:
        answer = printed("check", exit_code=exit_code, mps__endpoint=raw.url, mps__pipeline="p")

    assert (row(answer, name)["level"], words in row(answer, name)["advice"]) == (level, True)


OF_TWO_KINDS = (
    ALL_TO_FILE
    + """
match = {{ type = ["Transcode", "iproduction", "Snapshot", "nonsense"] }}
"""
)


def test_a_query_of_a_kind_that_a_route_names_needs_its_own_permission(
    place: Place, printed: Callable[..., Any]
) -> None:
    place.settings(OF_TWO_KINDS)
    with serving([NO_SUCH_JOB], [DENIED], [NO_SUCH_JOB]) as raw:
        answer = printed("check", mps__endpoint=raw.url)
        assert len(raw.requests) == 3

    (denied,) = [one for one in not_ok(answer) if one["name"] == "mps"]
    assert (denied["level"], denied["advice"]) == ("warning", "grant the RAM user mts:QueryJobList on *")
    assert "Transcode jobs" in denied["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b'{"Code": "InvalidAction.NotFound"}', "404 Not Found", id="another-service"),
        pytest.param(b"{}", "404 Not Found", id="an-error-without-a-code"),
        pytest.param(b'{"hello": "world"}', "200 OK", id="another-reply"),
        pytest.param(b"<html>Log in</html>", "200 OK", id="a-portal"),
    ],
)
def test_what_answers_but_is_not_mps_is_a_failure(
    place: Place, printed: Callable[..., Any], body: bytes, status: str
) -> None:
    with serving([http_reply(body, status=status, headers=CLOSED_JSON)]) as raw:
        answer = printed("check", exit_code=69, mps__endpoint=raw.url)

    assert [one["name"] for one in not_ok(answer)] == ["mps"]
    assert row(answer, "mps")["advice"]


def test_a_pipeline_that_does_not_exist_is_a_failure(place: Place, printed: Callable[..., Any]) -> None:
    answer = printed("check", exit_code=78, mps__pipeline="0" * 32)

    assert [one["name"] for one in not_ok(answer)] == ["pipeline"]


@pytest.mark.parametrize(
    ("notify", "level"),
    [({"QueueName": QUEUE}, "ok"), ({"QueueName": "others"}, "warning"), ({"Topic": "t"}, "ok")],
    ids=["polled", "not-polled", "topic"],
)
def test_the_queue_of_the_pipeline_is_compared_with_those_that_are_polled(
    place: Place, printed: Callable[..., Any], notify: dict[str, str], level: str
) -> None:
    answer = printed("check", mps__pipeline=add_pipeline(place, **notify))

    assert row(answer, "pipeline")["level"] == level
    assert next(iter(notify.values())) in row(answer, "pipeline")["detail"]


def test_a_notify_url_that_leads_elsewhere_is_a_warning(place: Place, printed: Callable[..., Any]) -> None:
    answer = printed("check", mps__notify_url=NOTIFY_URL.replace(QUEUE, "others"))

    assert [one["name"] for one in not_ok(answer)] == ["notify url"]


def test_a_service_that_never_answers_holds_the_check_up_no_longer_than_its_limit(
    place: Place, printed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shorter than the time-outs of both adapters, so the check ends while MPS and the queue still hang."""
    monkeypatch.setattr(all_checks, "LIMIT", timedelta(seconds=3))
    with serving([None]) as raw:
        answer = printed("check", exit_code=69, mps__endpoint=raw.url, queues__0__endpoint=raw.url)

    assert row(answer, "mps")["detail"] == row(answer, "queue mps-callbacks")["detail"]
    assert row(answer, "mps")["detail"] == "no answer within 3s"


@pytest.mark.parametrize(
    ("seconds", "exit_code", "level", "words"),
    [
        pytest.param(30, 0, "ok", "agrees", id="half-a-minute"),
        pytest.param(300, 0, "warning", "behind that of MNS", id="behind"),
        pytest.param(-300, 0, "warning", "ahead of that of MNS", id="ahead"),
        pytest.param(3600, 69, "failed", "behind that of MNS", id="rejected"),
    ],
)
def test_a_clock_that_is_off_is_reported(
    place: Place, printed: Callable[..., Any], seconds: int, exit_code: int, level: str, words: str
) -> None:
    fault = Fault(kind=FaultKind.CLOCK_SKEW, service="mns", seconds=seconds)
    place.server.call(lambda emulator: emulator.faults.add([fault]))
    answer = printed("check", exit_code=exit_code)

    assert place.happened("clock-skew") == 1
    assert (row(answer, "clock")["level"], words in row(answer, "clock")["detail"]) == (level, True)
    assert bool(row(answer, "clock")["advice"]) == (level != "ok")


@pytest.fixture
def nothing_outside_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def only_here(host: Any, *arguments: Any, **options: Any) -> Any:
        if "aliyuncs" in str(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)


@pytest.mark.usefixtures("nothing_outside_resolves")
def test_a_region_that_does_not_exist_is_reported_with_the_setting(
    place: Place, printed: Callable[..., Any]
) -> None:
    answer = printed("check", exit_code=69, mps__endpoint="", mps__region="cn-shangai", mps__notify_url="")

    assert [one["name"] for one in not_ok(answer)] == ["settings", "mps"]
    assert "did you mean 'cn-shanghai'" in not_ok(answer)[0]["detail"]
    assert row(answer, "mps")["advice"].startswith("verify mps.region = 'cn-shangai'")
    assert row(answer, "mps")["detail"].endswith(": name or service not known")


@pytest.mark.usefixtures("nothing_outside_resolves")
def test_internal_endpoints_that_cannot_be_reached_say_so(place: Place, printed: Callable[..., Any]) -> None:
    answer = printed(
        "check",
        exit_code=69,
        mps__endpoint="http://mts-vpc.cn-shanghai.aliyuncs.com",
        queues__0__endpoint="http://1.mns.cn-shanghai-internal.aliyuncs.com",
    )

    advice = {one["name"]: one["advice"] for one in not_ok(answer) if one["level"] == "failed"}
    assert advice["mps"].endswith("elsewhere use mts.cn-shanghai.aliyuncs.com")
    assert advice["queue mps-callbacks"].endswith("elsewhere use 1.mns.cn-shanghai.aliyuncs.com")


def test_a_store_that_others_can_read_is_a_warning(place: Place, printed: Callable[..., Any]) -> None:
    path = place.folder / "listener.db"
    path.chmod(0o644)
    answer = printed("check")

    assert [one["name"] for one in not_ok(answer)] == ["store files"]
    assert row(answer, "store files")["advice"].startswith(f"chmod 600 {path}")
