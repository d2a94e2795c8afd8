from __future__ import annotations

import contextvars
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from listener.handlers.command import EXIT_RETRY, Command, command

from listener import Reject, Retry, Unavailable
from listener.core.call_deadline import set_call_deadline
from listener.core.errors import SettingsError
from listener.dispatch.handler_loader import load
from listener.runtime import open_files
from tests.support.forked import run_source
from tests.support.results import a_job_result
from tests.support.waiting import has_line, is_dead, wait_until


def _shell(
    script: str,
    *,
    timeout: timedelta = timedelta(minutes=5),
    env: dict[str, str] | None = None,
    inherit: list[str] | None = None,
) -> Command:
    return command(argv=["/bin/sh", "-c", script], timeout=timeout, env=env, inherit=inherit)


@contextmanager
def _called(handler: Command) -> Iterator[Future[None]]:
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(handler, a_job_result())
        finally:
            handler.close()


def _pid_in(file: Path) -> int:
    wait_until(lambda: has_line(file))
    return int(file.read_text())


def test_program_reads_the_whole_document_on_standard_input(tmp_path: Path) -> None:
    result = a_job_result(raw="早" * 300_000, details=({"Status": "ok"},))

    _shell(f"cat > {tmp_path}/document")(result)

    assert json.loads((tmp_path / "document").read_bytes()) == result.to_document()


def test_half_a_surrogate_pair_reaches_the_program_as_its_escape(tmp_path: Path) -> None:
    _shell(f"cat > {tmp_path}/document")(a_job_result(message="\ud800"))

    assert json.loads((tmp_path / "document").read_bytes())["message"] == "\ud800"


def test_program_that_never_reads_its_input_may_succeed() -> None:
    assert _shell("exit 0")(a_job_result(raw="x" * 1_000_000)) is None


@pytest.mark.parametrize("traceparent", ["", f"00-{'a' * 32}-{'b' * 16}-01"])
def test_program_can_continue_the_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traceparent: str
) -> None:
    monkeypatch.setenv("TRACEPARENT", "that of the daemon")

    _shell(f'echo "$TRACEPARENT" > {tmp_path}/trace')(a_job_result(traceparent=traceparent))

    assert (tmp_path / "trace").read_text() == f"{traceparent}\n"


def test_program_knows_key_job_state_attempt_and_route(tmp_path: Path) -> None:
    names = ("KEY", "JOB_ID", "STATE", "ATTEMPT", "ROUTE")
    script = "; ".join(f'echo "$MNS_LISTENER_{name}" >> {tmp_path}/known' for name in names)

    _shell(script)(a_job_result(key="k", job_id="j", state="Fail", attempt=3, route="r"))

    assert (tmp_path / "known").read_text().split() == ["k", "j", "Fail", "3", "r"]


def test_program_inherits_neither_credentials_nor_our_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "testKeySecret")
    monkeypatch.setenv("MNS_LISTENER_STORE_URL", "postgresql://user:testKeySecret@db/x")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/testKeySecret")
    monkeypatch.setenv("PGPASSWORD", "testKeySecret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:testKeySecret@db/x")
    monkeypatch.setenv("SOME_API_TOKEN", "testKeySecret")
    monkeypatch.setenv("TZ", "Asia/Shanghai")

    _shell(f"env > {tmp_path}/environment", env={"ADDED": "here"})(a_job_result())

    environment = (tmp_path / "environment").read_text().splitlines()
    assert [line for line in environment if "testKeySecret" in line] == []
    assert {"TZ=Asia/Shanghai", f"PATH={os.environ['PATH']}", "ADDED=here"} <= set(environment)


def test_further_variables_are_inherited_by_name_or_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONE", "ONE_MORE", "TWO_A", "TWO_B", "TW"):
        monkeypatch.setenv(name, "here")

    _shell(f"env > {tmp_path}/environment", inherit=["ONE", "TWO_*"])(a_job_result())

    environment = (tmp_path / "environment").read_text().splitlines()
    assert sorted(line for line in environment if line.endswith("=here")) == [
        "ONE=here",
        "TWO_A=here",
        "TWO_B=here",
    ]


def test_a_variable_withheld_may_be_passed_on_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_REGION", "withheld")

    _shell(f'echo "$ALIBABA_CLOUD_REGION" > {tmp_path}/region', env={"ALIBABA_CLOUD_REGION": "given"})(
        a_job_result()
    )

    assert (tmp_path / "region").read_text() == "given\n"


def test_a_program_gets_the_limit_of_open_files_that_the_listener_had_before_it_raised_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(open_files, "_raised_from", [soft - 1])
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    script = f"cd {tmp_path} && echo $$ > new && mv new pid && cat go-on && ulimit -n > limit"
    handler = _shell(script, timeout=timedelta(minutes=1))
    call = threading.Thread(target=handler, args=(a_job_result(),), daemon=True)
    call.start()
    wait_until((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE) == (soft - 1, hard))
    go_on.write_text("")
    call.join(60)

    assert int((tmp_path / "limit").read_text()) == soft - 1


def test_a_lack_of_open_files_spends_no_attempt(tmp_path: Path) -> None:
    """In a process of its own, which may run out of open files."""
    script = """
import os, resource
from listener.handlers.command import command
from listener.rules.retry import RetryPolicy, after_failure
from tests.support.builders import NOON, a_delivery
from tests.support.results import a_job_result

handler = command(argv=["true"])
handler(a_job_result())
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + int(os.environ["SPARE"]), 64))
try:
    handler(a_job_result())
except Exception as error:
    outcome = after_failure(a_delivery(), error, RetryPolicy(), now=NOON, jitter=0)
    print(type(error).__name__, outcome.spent)
"""
    for spare in range(4):
        ended = run_source(script, tmp_path, os.environ | {"SPARE": str(spare)})
        assert (ended.stdout, ended.stderr) == ("Unavailable False\n", "")


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param("exit 75", Retry, id="tempfail-is-retried"),
        pytest.param("exit 65", Reject, id="dataerr-is-permanent"),
        pytest.param("exit 1", RuntimeError, id="other-code-is-a-failed-attempt"),
        pytest.param("kill -KILL $$", RuntimeError, id="killed-is-a-failed-attempt"),
    ],
)
def test_exit_code_decides(script: str, outcome: type[Exception]) -> None:
    with pytest.raises(outcome) as raised:
        _shell(f"echo because >&2; {script}")(a_job_result())

    assert type(raised.value) is outcome
    assert str(raised.value).endswith(": because")


def test_only_the_last_two_kilobytes_of_standard_error_are_kept() -> None:
    script = (
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done"
    )

    with pytest.raises(RuntimeError) as raised:
        _shell(f"{script}; printf the-end >&2; exit 2")(a_job_result())

    assert str(raised.value).endswith("the-end")
    assert len(str(raised.value)) < 2200


@pytest.mark.parametrize("code", [0, 1, EXIT_RETRY])
def test_what_a_program_leaves_in_the_background_is_ended_and_does_not_hold_the_delivery(
    code: int, tmp_path: Path
) -> None:
    handler = _shell(f"sleep 600 & echo $! > {tmp_path}/pid; exit {code}")

    with suppress(RuntimeError, Retry):
        handler(a_job_result())

    assert is_dead(_pid_in(tmp_path / "pid"))


#: Leaves the group, outlives its parent, and notes its id.
DETACHED = "(setsid sh -c 'echo $$ > {folder}/pid; exec sleep 600' &); until test -s {folder}/pid; do :; done"


def test_what_was_detached_before_exit_code_0_is_left_alone(tmp_path: Path) -> None:
    _shell(DETACHED.format(folder=tmp_path))(a_job_result())

    detached = _pid_in(tmp_path / "pid")
    assert not is_dead(detached)
    os.kill(detached, signal.SIGKILL)


#: As before, but the child remains one, and nothing in its environment shows where it comes from.
UNMARKED = DETACHED.replace("setsid", "setsid env -i").removeprefix("(").replace(" &);", " &")


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        pytest.param(DETACHED, "exec sleep 600", id="orphan-at-the-timeout"),
        pytest.param(DETACHED, "exit 1", id="orphan-after-a-failure"),
        pytest.param(UNMARKED, "exec sleep 600", id="child-without-environment-at-the-timeout"),
    ],
)
def test_what_left_the_group_is_ended_after_a_failure(script: str, ending: str, tmp_path: Path) -> None:
    handler = _shell(f"{script.format(folder=tmp_path)}; {ending}", timeout=timedelta(seconds=5))

    with pytest.raises((TimeoutError, RuntimeError)):
        handler(a_job_result())

    assert is_dead(_pid_in(tmp_path / "pid"))


def test_a_program_that_closes_standard_error_early_is_still_waited_for(tmp_path: Path) -> None:
    _shell(f"exec 2>&-; sleep 0.2; echo done > {tmp_path}/done")(a_job_result())

    assert (tmp_path / "done").exists()


def test_too_slow_a_program_is_ended_and_the_attempt_failed(tmp_path: Path) -> None:
    handler = _shell("exec sleep 600", timeout=timedelta(milliseconds=50))

    with pytest.raises(TimeoutError, match=r"exceeded the timeout of 0:00:00\.05"):
        handler(a_job_result())


def test_close_ends_the_whole_group_and_spends_no_attempt(tmp_path: Path) -> None:
    handler = _shell(f"sleep 600 & echo $! > {tmp_path}/pid; wait")

    with _called(handler) as call:
        grandchild = _pid_in(tmp_path / "pid")
        handler.close()

        with pytest.raises(Unavailable, match="stopping"):
            call.result(30)
    wait_until(lambda: is_dead(grandchild))


def test_what_ignores_sigterm_is_killed_after_the_kill_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.handlers.command._KILL_TIMEOUT", timedelta(milliseconds=100))
    handler = _shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done")

    with _called(handler) as call:
        pid = _pid_in(tmp_path / "pid")
        handler.close()

        with pytest.raises(Unavailable, match="SIGKILL"):
            call.result(30)
    assert is_dead(pid)


def test_a_program_that_finishes_politely_when_closed_counts_as_done(tmp_path: Path) -> None:
    handler = _shell(f"trap 'exit 0' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done")

    with _called(handler) as call:
        _pid_in(tmp_path / "pid")
        handler.close()

        assert call.result(30) is None


def test_a_program_that_is_being_replaced_spends_no_attempt(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    handler = command(argv=[str(program)])
    handler(a_job_result())

    with program.open("a"), pytest.raises(Unavailable, match=r"could not be started.*busy"):
        handler(a_job_result())
    program.chmod(0o600)
    with pytest.raises(Unavailable, match=r"could not be started.*denied"):
        handler(a_job_result())
    program.unlink()
    with pytest.raises(Unavailable, match=r"could not be started.*No such file"):
        handler(a_job_result())


def test_a_program_is_ended_before_its_handler_counts_as_hung() -> None:
    handler, context = _shell("exec sleep 600"), contextvars.copy_context()
    context.run(set_call_deadline, timedelta(milliseconds=200))

    with pytest.raises(TimeoutError, match=r"exceeded the timeout of 0:00:00\."):
        context.run(handler, a_job_result())


def test_nothing_is_started_after_close() -> None:
    handler = _shell("exit 0")
    handler.close()

    with pytest.raises(Unavailable):
        handler(a_job_result())


def test_program_ended_by_a_signal_is_a_failed_attempt_that_names_it() -> None:
    with pytest.raises(RuntimeError, match="SIGTERM"):
        _shell("kill -TERM $$; exit 3")(a_job_result())


def test_relative_program_is_looked_for_in_its_directory(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ntouch ran\n")
    program.chmod(0o700)

    command(argv=["./program"], cwd=tmp_path)(a_job_result())

    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        pytest.param(
            {"argv": ["no-such-program-anywhere"]}, "no-such-program-anywhere", id="missing-program"
        ),
        pytest.param({"argv": []}, "argv", id="empty"),
        pytest.param({"argv": "true"}, "argv", id="text-is-no-list"),
        pytest.param({"argv": ["true"], "cwd": "/no/such/place"}, "/no/such/place", id="missing-directory"),
        pytest.param({"argv": ["true"], "timeout": 0}, "timeout", id="no-time-at-all"),
        pytest.param({"argv": ["true"], "inherit": ["*"]}, "inherit", id="inherit-everything"),
    ],
)
def test_what_can_not_run_is_refused_at_start(options: dict[str, object], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        load("command", options, where="routes.a.handlers[0]")
