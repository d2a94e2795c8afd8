"""What holds for every command: examples in its help, errors in words, JSON that is JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.cli import COMMANDS, main
from listener.cli.outputs_text import output_fields
from listener.core.outputs import MediaProperties, ModerationResult, OutputFile, Outputs
from listener.emulator.mps.sample_results import FUNCTION_NAMES, Work
from listener.emulator.mps.sample_results import result as sample_result
from listener.formats.unicode_text import shortened
from listener.store.sql_store import SqlStore
from tests.support.builders import NOON, a_decoded_message, a_job, a_message, a_result, routes_all
from tests.support.cases import each_case
from tests.support.command_line import Invoke
from tests.support.job_entries import ENTRIES
from tests.support.program import Place


def commands(command: click.Command = main, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command with its way from the top."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, *path, name)


LISTINGS = [
    ("jobs", "list"),
    ("results", "list"),
    ("quarantine", "list"),
    ("dead-letters", "list"),
    ("deliveries", "list"),
]


@each_case("path", list(commands()), ids=" ".join)
def test_help_of_every_command_has_examples(invoke: Invoke, path: tuple[str, ...]) -> None:
    result = invoke(*path, "--help")

    assert result.exit_code == 0
    examples = result.stdout.partition("Examples:")[2]
    assert " ".join(("mns-listener", *path)) in examples


@each_case("path", list(commands()), ids=" ".join)
def test_help_of_every_command_fits_80_columns(invoke: Invoke, path: tuple[str, ...]) -> None:
    text, _, rest = invoke(*path, "--help").stdout.partition("Examples:")
    prose = rest.partition("\n\n")[2]  # an example may be longer: it is copied as one line

    assert [line for part in (text, prose) for line in part.splitlines() if len(line) > 80] == []


@each_case("path", [path for path in commands() if len(path) == 2], ids=" ".join)
def test_help_of_a_command_of_a_group_has_no_examples_of_the_others(
    invoke: Invoke, path: tuple[str, ...]
) -> None:
    shown = invoke(*path, "--help").stdout.partition("Examples:")[2].partition("\n\n")[0]

    assert {" ".join(line.split()[:3]) for line in shown.splitlines() if line} == {
        " ".join(("mns-listener", *path))
    }


def test_every_command_is_listed_in_the_help(invoke: Invoke) -> None:
    result = invoke("--help")
    assert [name for name in COMMANDS if f"\n  {name} " not in result.stdout] == []


@pytest.mark.parametrize("path", LISTINGS, ids=" ".join)
def test_listing_of_an_empty_store_is_an_empty_array(
    place: Place, printed: Callable[..., Any], path: tuple[str, ...]
) -> None:
    assert printed(*path) == []


@each_case("group", ["jobs", "results", "deliveries", "dead-letters", "quarantine", "store"])
def test_the_list_of_commands_of_a_group_is_not_cut(invoke: Invoke, group: str) -> None:
    commands = invoke(group, "--help").stdout.partition("Commands:")[2].partition("Examples:")[0].splitlines()

    assert commands
    assert [line for line in commands if line.endswith("...")] == []


def test_dlq_is_an_alias_of_dead_letters(place: Place, printed: Callable[..., Any], invoke: Invoke) -> None:
    assert printed("dlq", "list") == []
    assert "dead letters (alias: dlq)" in invoke("--help").stdout


@pytest.mark.parametrize("path", LISTINGS, ids=" ".join)
def test_empty_listing_says_so(place: Place, invoke: Invoke, path: tuple[str, ...]) -> None:
    assert invoke(*path).stdout.startswith("no ")


def test_a_job_is_shown_with_its_outputs_as_handlers_get_them(
    place: Place, printed: Callable[..., Any]
) -> None:
    output = "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}.mp4"
    job = a_job(function="VideoClip", output=output)
    with place.store() as store:
        store.add_job(job)
        outputs = '{"Code": "Success", "Data": "{\\"result\\": [{\\"file\\": \\"out/talk.mp4\\"}]}"}'
        message = a_decoded_message(result=a_result(function="VideoClip", outputs=outputs))
        store.record([message], routes_all(), at=NOON)

    (result,) = printed("jobs", "show", job.job_id)["results"]

    url = "oss://media.oss-cn-shanghai.aliyuncs.com/out/talk.mp4"
    assert [file["url"] for file in result["outputs"]["files"]] == [url]


#: A line of what is shown of the outputs of these functions, without its alignment.
SHOWN = {
    "Cover": "covers oss://out-bucket.oss-cn-shanghai.aliyuncs.com/talk-7.mp4, score 8.27, at 0.27825 s",
    "VideoClip": "files oss://out-bucket.oss-cn-shanghai.aliyuncs.com/talk-7.mp4",
    "MusicSegmentDetect": "segments 39.32 s to 63.85 s 副歌",
    "VideoSplit": "44.57 s to 90.12 s part 44.57",
}


@pytest.mark.parametrize("function", FUNCTION_NAMES)
def test_outputs_of_every_function_are_shown_as_lines_and_not_as_python(
    place: Place, invoke: Invoke, function: str
) -> None:
    job = a_job(function=function)
    work = Work(function=function, input=job.input, output=job.output, params={}, timestamp=7)
    result = a_result(function=function, outputs=sample_result(work), details=({"a": [1]}, "b"))
    with place.store() as store:
        store.add_job(job)
        store.record([a_decoded_message(result=result)], routes_all(), at=NOON)

    lines = invoke("jobs", "show", job.job_id).stdout.splitlines()

    outputs = lines[lines.index("outputs") :]
    assert any(line.split() == ["code", "Success"] for line in outputs)
    assert [line for line in lines if "{'" in line or "['" in line or "(" in line] == []
    assert [line.split() for line in lines if line.startswith("details")][:1] == [
        ["details", '{"a":', "[1]}"]
    ]
    assert SHOWN.get(function, "code Success") in [" ".join(line.split()) for line in outputs]


def test_all_members_of_outputs_are_shown() -> None:
    hidden = {"source", "malformed", "raw"}  # only JSON has them

    assert {each.name for each in fields(Outputs)} - set(output_fields(Outputs().to_document())) == hidden


@each_case(
    ("outputs", "shown"),
    [
        (
            Outputs(properties=MediaProperties(width=1920, video_streams=({"codec": "h264"},))),
            {"properties": 'width 1920, video_streams [{"codec": "h264"}]'},
        ),
        (
            Outputs(files=(OutputFile(path="a.jpg", role="snapshot", width=1280),)),
            {"files": ["a.jpg, role snapshot, width 1280"]},
        ),
        (
            Outputs(moderation=(ModerationResult(part="cover", suggestion="Block", rate=99.5),)),
            {"moderation": ["part cover, suggestion Block, rate 99.5"]},
        ),
    ],
    ids=["object", "file", "list"],
)
def test_outputs_without_a_form_of_their_own_are_shown_as_names_and_values(
    outputs: Outputs, shown: dict[str, Any]
) -> None:
    assert {name: value for name, value in output_fields(outputs.to_document()).items() if value} == shown


def test_a_job_is_shown_with_its_tenant_its_deadline_and_how_often_it_was_queried(
    place: Place, invoke: Invoke
) -> None:
    job = a_job(tenant="one", deadline_at=NOON, queries=3)
    with place.store() as store:
        store.add_job(job)

    shown = dict(line.split(maxsplit=1) for line in invoke("jobs", "show", job.job_id).stdout.splitlines())

    deadline = NOON.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert (shown["tenant"], shown["deadline_at"], shown["queries"]) == ("one", deadline, "3")


def test_a_workflow_is_shown_with_its_activities(place: Place, printed: Callable[..., Any]) -> None:
    raw = json.dumps({"Type": "Report", "RunId": "run", "MediaWorkflowExecution": ENTRIES["Workflow"]})
    report = a_result(job_id="", run_id="run", type="Report", function="", raw=raw)
    with place.store() as store:
        store.add_job(a_job(job_id="run", function=""))
        store.record([a_decoded_message(result=report)], routes_all(), at=NOON)

    (result,) = printed("jobs", "show", "run")["results"]

    assert [each["name"] for each in result["activities"]] == ["Act-1", "Act-Report", "Act-Skip"]
    assert result["activities"][0]["started_at"] == "2020-04-29T11:33:32+00:00"


@pytest.fixture
def full(place: Place) -> Place:
    """A place whose store has something of everything, with what is awkward to print."""
    with place.store() as store:
        fill(store)
    return place


def fill(store: SqlStore) -> None:
    from tests.support.builders import routes_all

    awkward = "two\nlines\x1b[31m red [bold]markup[/bold] 字幕\x9b2J\u202e  "
    store.add_job(a_job(reference="talk-7", user_data=awkward))
    store.record(
        [
            a_decoded_message(result=a_result(user_data=awkward)),
            a_decoded_message(message=a_message(message_id="other", body=awkward), result=None),
        ],
        routes_all(),
        at=NOON,
    )


@pytest.mark.parametrize("path", LISTINGS[:3], ids=" ".join)
def test_table_in_a_pipe_has_whole_lines_without_trailing_blanks_or_control_characters(
    full: Place, invoke: Invoke, path: tuple[str, ...]
) -> None:
    lines = invoke(*path).stdout.split("\n")

    assert len(lines) == 3  # a head, one row, and the end of the last line
    assert [line for line in lines if line != line.rstrip()] == []
    assert "two\\nlines\\x1b[31m red [bold]markup[/bold] 字幕\\x9b2J\\u202e" in lines[1]
    assert lines[0].count("\t") == lines[1].count("\t") > 3


@pytest.mark.parametrize("path", [*LISTINGS, ("jobs", "show", "talk-7")], ids=" ".join)
def test_json_is_nothing_but_json(full: Place, printed: Callable[..., Any], path: tuple[str, ...]) -> None:
    assert isinstance(printed(*path), list | dict)


@pytest.mark.parametrize("path", [*LISTINGS, ("jobs", "show", "talk-7")], ids=" ".join)
def test_json_has_no_raw_control_characters(full: Place, invoke: Invoke, path: tuple[str, ...]) -> None:
    assert invoke(*path, "--json").stdout.removesuffix("\n").isprintable()


def test_history_of_a_job_is_found_by_any_of_its_names(
    full: Place, printed: Callable[..., Any], invoke: Invoke
) -> None:
    by_reference = printed("jobs", "show", "talk-7")
    names = (by_reference["job"]["job_id"], by_reference["job"]["token"])

    assert [printed("jobs", "show", name) for name in names] == [by_reference] * 2
    assert [one["state"] for one in by_reference["results"]] == ["Success"]
    assert "two\\nlines\\x1b" in invoke("jobs", "show", "talk-7").stdout


def test_pages_follow_each_other(place: Place, printed: Callable[..., Any]) -> None:
    with place.store() as store:
        for number in range(5):
            store.add_job(a_job(token=f"{number:022}", job_id=f"job-{number}", reference=""))
    first = printed("jobs", "list", "--limit", "3")
    second = printed("jobs", "list", "--limit", "3", "--before", str(first[-1]["id"]))

    assert [job["job_id"] for job in first + second] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]


def test_output_in_an_old_encoding_loses_nothing(full: Place) -> None:
    """As where the locale is not UTF-8."""
    command = [sys.executable, "-m", "listener", "jobs", "list"]
    environment = {"PYTHONPATH": full.path, "PYTHONIOENCODING": "latin-1", "PATH": "/usr/bin:/bin"}
    plain, as_json = (
        subprocess.run([*command, *more], cwd=full.folder, env=environment, capture_output=True, check=True)
        for more in ([], ["--json"])
    )
    assert rb"\u5b57\u5e55" in plain.stdout
    assert rb"\u5b57\u5e55" in as_json.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        pytest.param(["nonsense"], 2, "No such command", id="command"),
        pytest.param(["rnu"], 2, "No such command 'rnu'. Did you mean 'run'?", id="command-misspelled"),
        pytest.param(
            ["run", "-c", "nothing.toml"],
            78,
            "cannot read the settings file 'nothing.toml'",
            id="no-settings-file",
        ),
        pytest.param(["jobs", "list", "-c", "/"], 2, "is a directory", id="settings-are-a-folder"),
        pytest.param(["jobs", "show", "x"], 66, "no job 'x' in this store", id="job"),
        pytest.param(["dead-letters", "show", "7"], 66, "no dead letter has the id 7", id="dead-letter"),
        pytest.param(["jobs", "wait", "talk-9"], 66, "no job 'talk-9' in this store", id="wait"),
        pytest.param(["reconcile", "--job", "x"], 66, "no job 'x' in this store", id="reconcile"),
        pytest.param(["deliveries", "show", "7"], 66, "no delivery has the id 7", id="delivery"),
        pytest.param(["dead-letters", "show", "x"], 2, "'x' is not a valid id", id="no-id"),
        pytest.param(["dead-letters", "show", "9" * 30], 2, "not in the range", id="huge-id"),
        pytest.param(["jobs", "list", "--before", "9" * 30], 2, "not in the range", id="huge-page"),
        pytest.param(["jobs", "list", "--limit", "0"], 2, "not in the range", id="no-limit"),
        pytest.param(["dead-letters", "replay"], 2, "specify the ids of dead letters", id="replay-what"),
        pytest.param(
            ["dead-letters", "replay", "--all", "7"],
            2,
            "specify the ids of dead letters",
            id="replay-all-and-one",
        ),
        pytest.param(
            ["dead-letters", "drop", "7", "--route", "r"], 2, "--route requires --all", id="route-and-id"
        ),
        pytest.param(["results", "list", "--status", "x"], 2, "is not one of", id="status"),
        pytest.param(["jobs", "show", "\udcff"], 2, "is not valid UTF-8", id="bytes"),
        pytest.param(
            ["dead-letters", "list", "--route", "a\udcffb"], 2, "is not valid UTF-8", id="bytes-in-option"
        ),
        pytest.param(["demo", "--jobs", "0"], 2, "not in the range", id="demo-without-jobs"),
        pytest.param(["demo", "--keep", "why?"], 2, "contains a ?", id="demo-folder"),
        pytest.param(["submit", "Cover", "--input", "talk.mp4"], 2, "Input", id="submit-a-path"),
    ],
)
def test_a_mistake_is_reported_in_words_and_by_its_exit_code(
    place: Place, invoke: Invoke, arguments: list[str], exit_code: int, words: str
) -> None:
    result = invoke(*arguments)

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("url", "exit_code", "words"),
    [
        ("garbage", 78, "not a valid database URL"),
        ("postgresql://user:hunter2@127.0.0.1:port/name", 78, "not a valid database URL"),
        ("mysql://user:hunter2@h/n", 78, "not supported"),
        ("sqlite://", 78, "is not persistent"),
        ("sqlite:////nonexistent/l.db", 78, "does not exist"),
        ("sqlite:////proc", 69, "store sqlite:////proc: "),
    ],
)
def test_an_unusable_store_is_reported_without_its_password(
    place: Place, invoke: Invoke, url: str, exit_code: int, words: str
) -> None:
    result = invoke("jobs", "list", store__url=url)

    assert (result.exit_code, words in result.stderr) == (exit_code, True)
    assert "hunter2" not in result.stderr


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(
        [(), *LISTINGS, ("jobs", "show"), ("dead-letters", "show"), ("dead-letters", "drop"), ("submit",)]
    ),
    more=st.lists(
        st.one_of(
            st.text(st.characters(exclude_characters="\0"), max_size=20),
            st.sampled_from(
                [
                    *("--json", "--limit", "--before", "--state", "--route", "--input", "-c", "--all", "--"),
                    *("--since", "--until", "--function", "--reference", "--dry-run", "--yes"),
                ]
            ),
        ),
        max_size=4,
    ),
)
def test_odd_input_never_ends_in_an_internal_error(
    invoke: Invoke, path: tuple[str, ...], more: list[str]
) -> None:
    result = invoke(*path, *more)

    assert result.exit_code in (0, 1, 2, 66, 69, 78), result.output
    assert "internal error" not in result.output


def test_unknown_key_of_the_settings_is_reported_with_the_known_ones(place: Place, invoke: Invoke) -> None:
    result = invoke("jobs", "list", store__uri="x")
    assert result.exit_code == 78
    assert "store.uri is an unknown key; valid keys: url" in result.stderr


def test_a_submission_for_a_route_that_no_route_asks_for_prints_a_warning(
    place: Place, invoke: Invoke, tmp_path: Path
) -> None:
    """Also where many are submitted; the jobs are submitted all the same."""
    url = "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4"
    lines = tmp_path / "jobs.jsonl"
    lines.write_text(json.dumps({"function": "VideoH2V", "input": url, "output": url}))
    one = ("VideoH2V", "--input", url, "--output", url)

    for arguments in (one, ("--from", str(lines))):
        result = invoke("submit", *arguments, "--route", "captions")
        assert result.exit_code == 0, result.output
        assert re.match(
            r"(Warning|line 1: warning): no route in the settings has match.route = 'captions'; ",
            result.stderr,
        )
        assert "arning" not in invoke("submit", *arguments).stderr


@pytest.mark.parametrize(
    ("function", "warnings"),
    [
        pytest.param("Cover", "", id="documented"),
        pytest.param(
            "Covr",
            "Warning: function 'Covr' is not a documented function; did you mean Cover?; it is used unchanged\n",
            id="misspelt",
        ),
    ],
)
def test_submit_and_register_warn_alike_of_a_misspelt_function(
    place: Place, invoke: Invoke, function: str, warnings: str
) -> None:
    media = "oss://media.oss-cn-shanghai.aliyuncs.com/"
    submitted = invoke(
        *("submit", function, "--input", f"{media}in.mp4", "--output", f"{media}{{sequenceId}}.jpg")
    )
    registered = invoke("jobs", "register", "made-elsewhere", "--function", function)

    assert (submitted.exit_code, registered.exit_code) == (0, 0)
    assert (submitted.stderr, registered.stderr) == (warnings, warnings)


@pytest.mark.parametrize("job_id", ["", " ", "job-1\n", "job 1", "job-1,job-2", "j" * 257])
def test_an_id_that_no_callback_has_is_not_registered(
    place: Place, printed: Callable[..., Any], invoke: Invoke, job_id: str
) -> None:
    result = invoke("jobs", "register", job_id)

    assert result.exit_code == 2
    assert f"job id {shortened(job_id, 60)!r} is empty, longer than 256 characters" in result.stderr
    assert printed("jobs", "list") == []


def test_a_job_registered_without_a_function_brings_no_warning(place: Place, invoke: Invoke) -> None:
    assert invoke("jobs", "register", "made-elsewhere").stderr == ""
