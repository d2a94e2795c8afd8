"""``mns-listener setup`` against an empty account: what it creates, and what it leaves alone."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from listener.cli.setup_run import _write_whole
from listener.core.errors import ListenerError
from listener.emulator import DEFAULT_PIPELINE_ID, Fault, FaultKind, Options
from listener.emulator.mns.queue import Attributes
from listener.emulator.server import running
from listener.rules.queue_attributes import WANTED
from listener.settings.loader import settings_from
from tests.support.command_line import Invoke
from tests.support.program import NOTIFY_URL, QUEUE, SECRET, Place, unused_endpoint

PLACE = ("--region", "cn-shanghai", "--account", "1234567890")
#: Requests that change something.
WRITES = ("CreateQueue", "SetQueueAttributes", "SendMessage", "AddPipeline", "UpdatePipeline")

Setup = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An account without queues, and a folder without settings."""
    with running(Options(job_seconds=0.01)) as server:
        yield Place(tmp_path, server)


@pytest.fixture
def run_setup(place: Place, invoke: Invoke) -> Callable[..., Result]:
    def call(*arguments: str, **settings: str) -> Result:
        url = place.server.url
        return invoke("setup", *PLACE, "--mns-endpoint", url, "--mps-endpoint", url, *arguments, **settings)

    return call


@pytest.fixture
def report(run_setup: Callable[..., Result]) -> Setup:
    """What ``setup --json`` prints."""

    def call(*arguments: str, exit_code: int = 0, **settings: str) -> Any:
        result = run_setup("--json", *arguments, **settings)
        assert result.exit_code == exit_code, result.output
        return json.loads(result.stdout)

    return call


def statuses(answer: Any) -> dict[str, str]:
    """By the first word of the step."""
    return {step["name"].split()[0]: step["status"] for step in answer["steps"]}


def detail(answer: Any, name: str) -> str:
    return next(str(step["detail"]) for step in answer["steps"] if step["name"].startswith(name))


def attributes(place: Place, queue: str = QUEUE) -> Attributes:
    return place.server.call(lambda emulator: emulator.mns.queues[queue].attributes)


def notified(place: Place, pipeline_id: str = DEFAULT_PIPELINE_ID) -> dict[str, str]:
    return place.server.call(lambda emulator: dict(emulator.engine.pipelines[pipeline_id].notify))


def writes(place: Place) -> int:
    return sum(place.asked(operation) for operation in WRITES)


def state(place: Place) -> tuple[object, ...]:
    """All that a run could change: the queues, what was asked for, and the settings file."""
    file = (place.folder / "listener.toml").stat()
    queues = place.server.call(lambda emulator: emulator.state()["queues"])
    return queues, writes(place), file.st_ino, file.st_mtime_ns


def bind_elsewhere(place: Place) -> None:
    place.server.call(
        lambda emulator: emulator.engine.pipelines[DEFAULT_PIPELINE_ID].notify.update(QueueName="other")
    )


def test_an_empty_account_gets_a_queue_a_pipeline_and_settings(place: Place, report: Setup) -> None:
    answer = report("--new-pipeline", "transcode")

    assert statuses(answer) == {
        "queue": "created",
        "pipeline": "created",
        "settings": "created",
        "test": "received",
    }
    assert (answer["changed"], answer["notify_url"]) == (True, NOTIFY_URL)
    found = attributes(place)
    assert found.visibility_timeout == WANTED["VisibilityTimeout"]
    assert found.message_retention_period == WANTED["MessageRetentionPeriod"]
    assert found.polling_wait_seconds == WANTED["PollingWaitSeconds"]
    assert notified(place, answer["pipeline_id"]) == {"QueueName": QUEUE}
    assert place.messages_left() == 0, "the test message is deleted"
    assert settings_from(place.folder / "listener.toml").mps.notify_url == NOTIFY_URL


def test_a_second_run_changes_nothing_and_says_so(
    place: Place, report: Setup, run_setup: Callable[..., Result]
) -> None:
    report("--new-pipeline", "transcode")
    before = state(place)
    answer = report("--new-pipeline", "transcode")
    text = run_setup("--new-pipeline", "transcode").stdout

    assert set(statuses(answer).values()) == {"unchanged", "skipped"}
    assert answer["changed"] is False
    assert "Nothing was changed." in text
    assert state(place) == before


def test_a_dry_run_shows_all_and_changes_nothing(
    place: Place, report: Setup, run_setup: Callable[..., Result]
) -> None:
    answer = report("--dry-run", "--new-pipeline", "transcode")

    assert statuses(answer) == {
        "queue": "to create",
        "pipeline": "to create",
        "settings": "to create",
        "test": "to send",
    }
    assert (answer["changed"], answer["dry_run"]) == (False, True)
    assert "dry run" in run_setup("--dry-run").stdout
    assert writes(place) == 0
    assert list(place.folder.iterdir()) == []


def test_an_existing_queue_is_changed_only_with_fix(place: Place, report: Setup) -> None:
    place.create_queue(visibility_timeout=30, delay_seconds=3)
    left = report()

    assert statuses(left)["queue"] == "differs"
    assert "DelaySeconds is 3 s, recommended 0 s" in detail(left, "queue")
    assert "--fix" in detail(left, "queue")
    assert attributes(place).delay_seconds == 3
    assert statuses(report("--fix", "--dry-run"))["queue"] == "to change"
    assert attributes(place).delay_seconds == 3
    assert statuses(report("--fix"))["queue"] == "changed"
    assert (attributes(place).delay_seconds, attributes(place).visibility_timeout) == (0, 60)
    assert statuses(report("--fix"))["queue"] == "unchanged"


def test_a_pipeline_without_a_queue_is_bound(place: Place, report: Setup) -> None:
    answer = report("--pipeline", "mts-default-pipeline")

    assert statuses(answer)["pipeline"] == "changed"
    assert answer["pipeline_id"] == DEFAULT_PIPELINE_ID
    assert notified(place) == {"QueueName": QUEUE}


def test_a_pipeline_of_another_queue_is_refused_before_anything_is_changed(
    place: Place, run_setup: Callable[..., Result], report: Setup
) -> None:
    bind_elsewhere(place)
    refused = run_setup("--pipeline", DEFAULT_PIPELINE_ID)

    assert refused.exit_code == 2
    assert f"mts-default-pipeline ({DEFAULT_PIPELINE_ID})" in refused.stderr
    assert "the queue other" in refused.stderr
    assert "--rebind" in refused.stderr
    assert writes(place) == 0
    assert not (place.folder / "listener.toml").exists()

    answer = report("--pipeline", DEFAULT_PIPELINE_ID, "--rebind")
    assert "before to the queue other" in detail(answer, "pipeline")
    assert notified(place) == {"QueueName": QUEUE}


def test_an_unknown_pipeline_is_refused_with_those_that_exist(
    place: Place, run_setup: Callable[..., Result]
) -> None:
    refused = run_setup("--pipeline", "other")

    assert refused.exit_code == 66
    assert f"mts-default-pipeline ({DEFAULT_PIPELINE_ID})" in refused.stderr
    assert writes(place) == 0


def test_a_settings_file_is_kept_without_force(place: Place, report: Setup) -> None:
    file = place.folder / "listener.toml"
    file.write_text('[log]\nlevel = "debug"\n')
    kept = report()

    assert statuses(kept)["settings"] == "differs"
    assert "--force" in detail(kept, "settings")
    assert file.read_text() == '[log]\nlevel = "debug"\n'
    assert statuses(report("--force"))["settings"] == "changed"
    assert settings_from(file).queues[0].queue == QUEUE
    assert sorted(path.name for path in place.folder.iterdir()) == ["listener.toml"]


def test_settings_that_do_not_consume_the_queue_are_noticed(
    place: Place, report: Setup, invoke: Invoke
) -> None:
    report("--queue", "first")
    url = f"{place.server.url}/"  # with the slash that people copy along
    second = report("--queue", "second")
    again = report("--queue", "first", "--mns-endpoint", url)
    read = invoke("setup", "-c", "listener.toml", "--queue", "second", "--json")

    advice = "add [[queues]] with url = 'mns://1234567890.mns.cn-shanghai.aliyuncs.com/queues/second'"
    assert advice in detail(second, "settings")
    assert advice in detail(json.loads(read.stdout), "settings")
    assert "[[queues]]" not in detail(again, "settings")


def test_invalid_settings_are_refused_before_anything_is_changed(
    place: Place, run_setup: Callable[..., Result]
) -> None:
    (place.folder / "listener.toml").write_text("[nonsense]\n")
    refused = [run_setup(), run_setup("-c", "missing.toml")]

    assert [result.exit_code for result in refused] == [78, 78]
    assert "nonsense" in refused[0].stderr
    assert "missing.toml" in refused[1].stderr
    assert writes(place) == 0


def test_a_missing_folder_is_refused_before_anything_is_changed(
    place: Place, run_setup: Callable[..., Result]
) -> None:
    refused = run_setup("--write", "missing/listener.toml")

    assert (refused.exit_code, "--write" in refused.stderr) == (78, True)
    assert writes(place) == 0


def test_no_secret_is_written_or_printed(place: Place, run_setup: Callable[..., Result]) -> None:
    result = run_setup("--new-pipeline", "transcode")

    assert SECRET not in result.output
    assert "testKeyId" not in result.output
    assert SECRET not in (place.folder / "listener.toml").read_text()


def test_check_accepts_what_was_written(place: Place, report: Setup, invoke: Invoke) -> None:
    report()
    result = invoke("check", http__listen="")

    assert (result.exit_code, "FAILED" in result.stdout) == (0, False), result.output


def test_messages_of_others_survive_a_test_message(place: Place, report: Setup) -> None:
    place.create_queue()
    place.send("j1", "j2")

    assert statuses(report())["test"] == "skipped"
    answer = report("--test-message")

    assert statuses(answer)["test"] == "received"
    assert "2 other messages" in detail(answer, "test")
    assert place.messages_left() == 2


def test_a_test_message_that_is_not_received_is_a_failure(place: Place, report: Setup) -> None:
    fault = Fault(kind=FaultKind.EMPTY_POLL, operation="BatchReceiveMessage")
    place.server.call(lambda emulator: emulator.faults.add([fault]))
    answer = report(exit_code=1)

    assert statuses(answer) == {
        "queue": "created",
        "pipeline": "skipped",
        "settings": "created",
        "test": "not received",
    }


def test_a_test_message_can_be_left_out(place: Place, report: Setup) -> None:
    assert statuses(report("--no-test-message"))["test"] == "skipped"
    assert place.asked("SendMessage") == 0


@pytest.mark.parametrize("option", [[], ["-c", "listener.toml"]], ids=["default-file", "option"])
def test_settings_give_what_is_not_on_the_command_line(
    place: Place, report: Setup, invoke: Invoke, option: list[str]
) -> None:
    report("--new-pipeline", "transcode", "--queue", "callbacks-2")
    result = invoke("setup", *option, "--json")

    answer = json.loads(result.stdout)
    assert [step["name"] for step in answer["steps"][::2]] == [
        "queue callbacks-2",
        "settings file listener.toml",
    ]
    assert statuses(answer) == {
        "queue": "unchanged",
        "pipeline": "skipped",
        "settings": "unchanged",
        "test": "skipped",
    }
    assert answer["notify_url"].endswith("/queues/callbacks-2")


def test_another_file_that_exists_is_kept_without_force(place: Place, report: Setup) -> None:
    report("--write", "other.toml")
    other = place.folder / "other.toml"
    same = report("--write", "other.toml")
    other.write_text(f"# mine\n{other.read_text()}")
    kept = report("--write", "other.toml")

    assert statuses(same)["settings"] == "unchanged"
    assert statuses(kept)["settings"] == "differs"
    assert other.read_text().startswith("# mine\n")
    assert statuses(report("--write", "other.toml", "--force"))["settings"] == "changed"


@pytest.mark.parametrize(
    ("other", "endpoint"),
    [
        pytest.param(["--region", "cn-beijing"], "", id="region"),
        pytest.param(["--account", "9876543210"], "", id="account"),
        pytest.param(["--network", "vpc"], "https://mts-vpc.cn-shanghai.aliyuncs.com", id="network"),
        pytest.param(["--queue", "other"], None, id="only-another-queue"),
    ],
)
def test_endpoints_of_the_settings_are_not_used_for_another_place(
    place: Place, report: Setup, invoke: Invoke, other: list[str], endpoint: str | None
) -> None:
    report()
    url = place.server.url
    result = invoke("setup", "-c", "listener.toml", *other, "--mns-endpoint", url, "--write", "new.toml")

    assert result.exit_code == 0, result.output
    written = settings_from(place.folder / "new.toml").mps.endpoint
    assert written == (url if endpoint is None else endpoint)


def test_a_tenant_is_set_up_with_the_default_key(place: Place, report: Setup, invoke: Invoke) -> None:
    answer = report("--tenant", "one", "--new-pipeline", "transcode")
    checked = invoke("check", http__listen="")

    assert statuses(answer)["settings"] == "created"
    assert checked.exit_code == 0, checked.output
    assert "access key one" in checked.stdout


def test_a_file_that_cannot_be_written_ends_with_what_was_done(
    place: Place, run_setup: Callable[..., Result]
) -> None:
    failed = run_setup("--write", f"/proc/{'x' * 8}.toml")

    assert failed.exit_code == 1
    assert f"queue {QUEUE}: created" in failed.stderr


def test_the_key_of_a_tenant_comes_from_its_settings(
    place: Place, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"not-{SECRET}")
    (place.folder / "id").write_text("testKeyId")
    (place.folder / "secret").write_text(SECRET)
    (place.folder / "keys.toml").write_text(
        '[tenants.one.credentials]\naccess_key_id_file = "id"\naccess_key_secret_file = "secret"\n'
        f'[tenants.one.mps]\nregion = "cn-shanghai"\nendpoint = "{place.server.url}"\n'
    )
    arguments = ("setup", "-c", "keys.toml", "--tenant", "one", "--account", "1234567890")
    made = invoke(*arguments, "--mns-endpoint", place.server.url, "--write", "new.toml", "--json")

    assert made.exit_code == 0, made.output
    assert statuses(json.loads(made.stdout))["queue"] == "created"
    settings = settings_from(place.folder / "new.toml")
    assert settings.queues[0].tenant == "one"
    assert settings.tenant("one").credentials.access_key_secret_file == place.folder / "secret"


def test_what_was_done_before_an_error_is_said(place: Place, run_setup: Callable[..., Result]) -> None:
    fault = Fault(kind=FaultKind.ERROR, operation="AddPipeline", count=1)
    place.server.call(lambda emulator: emulator.faults.add([fault]))
    failed = run_setup("--new-pipeline", "transcode")

    assert failed.exit_code == 69
    assert f"queue {QUEUE}: created" in failed.stderr
    assert "run the same command again" in failed.stderr
    assert run_setup("--new-pipeline", "transcode").exit_code == 0
    assert (place.folder / "listener.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        pytest.param(["--account", "me"], 2, "--account 'me' is not valid", id="account"),
        pytest.param(["--pipeline", ""], 2, "--pipeline is empty", id="empty-pipeline"),
        pytest.param(["--queue", ""], 2, "--queue is empty", id="empty-queue"),
        pytest.param(["--pipeline", "a", "--new-pipeline", "b"], 2, "one of the two", id="two-pipelines"),
        pytest.param(["--mns-endpoint", unused_endpoint()], 69, ": connection refused; verify", id="no-mns"),
        pytest.param(["--mns-endpoint", "nonsense"], 2, "--mns-endpoint 'nonsense'", id="endpoint"),
    ],
)
def test_a_refusal_names_the_cause(
    place: Place, run_setup: Callable[..., Result], arguments: list[str], exit_code: int, words: str
) -> None:
    refused = run_setup(*arguments)

    assert (refused.exit_code, words in refused.stderr) == (exit_code, True), refused.output
    assert writes(place) == 0
    assert not (place.folder / "listener.toml").exists()


def test_a_region_without_mps_is_a_warning(
    place: Place, run_setup: Callable[..., Result], invoke: Invoke
) -> None:
    url = place.server.url
    result = invoke("setup", "--region", "cn-shanhai", "--account", "1234567890", "--mns-endpoint", url)

    assert "did you mean 'cn-shanghai'" in result.stderr


def test_the_policies_and_the_next_commands_are_shown(place: Place, run_setup: Callable[..., Result]) -> None:
    text = run_setup().stdout

    assert "for the daemon" in text
    assert "for those who submit jobs" in text
    assert "AliyunMTSDefaultRole" in text
    assert "mns-listener check -c listener.toml" in text


def test_policies_are_not_repeated_by_a_run_that_changes_nothing(
    place: Place, run_setup: Callable[..., Result]
) -> None:
    run_setup()
    again, dry_run = run_setup().stdout, run_setup("--dry-run").stdout

    assert "Nothing was changed." in again
    assert ('"Statement"' in again, '"Statement"' in dry_run) == (False, True)
    assert "add --dry-run to print them" in again


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "listener.toml"
    path.write_text("mine")
    with pytest.raises(ListenerError, match="created meanwhile"):
        _write_whole(path, "ours", replace=False)

    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"listener.toml": "mine"}


def test_a_file_is_written_with_the_usual_mode(tmp_path: Path) -> None:
    path = tmp_path / "listener.toml"
    before = os.umask(0o027)
    try:
        _write_whole(path, "ours", replace=False)
        _write_whole(path, "again", replace=True)
    finally:
        os.umask(before)

    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("again", 0o640)
    assert list(tmp_path.iterdir()) == [path]
