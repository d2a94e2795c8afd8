"""What a command imports: its start takes most of its time, so it loads only what it uses. Times are not compared."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from listener.cli import COMMANDS, main
from tests.support.program import Place

pytestmark = [pytest.mark.process, pytest.mark.fresh_interpreter]

#: Imported by no help text.
FOR_WORK = {"sqlalchemy", "pydantic", "structlog", "rich", "httpx", "alembic", "mns", "prometheus_client"}
#: Imported by no command that only reads the store, if it is a SQLite file, and by no daemon that needs none of it.
FOR_OTHERS = {
    *(
        "opentelemetry",
        "alembic",
        "httpx",
        "uvicorn",
        "starlette",
        "psycopg",
        "sqlalchemy.dialects.postgresql",
        "tenacity",
    ),
    *("alibabacloud_mts20140618", "alibabacloud_credentials", "alibabacloud_tea_openapi", "Tea", "darabonba"),
}
ONLY_READS = {*FOR_OTHERS, "mns", "prometheus_client", "structlog", "rich", "httpcore", "standardwebhooks"}

#: Commands that only read the store.
READ_THE_STORE = (
    *("jobs list", "results list", "deliveries list", "dead-letters list"),
    *("quarantine list", "store status"),
)

#: Runs a command, then prints the modules that were imported.
RUN = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from listener.cli import main
main(prog_name="mns-listener")
"""
#: The same for one command after the other, each with a line of the modules that it was the first to import.
RUN_EACH = """
import contextlib, io, sys
from listener.cli import main

known = set()
for arguments in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(arguments.split(), prog_name="mns-listener", standalone_mode=False)
    assert printed.getvalue()
    print(arguments)
    print(*sorted(set(sys.modules) - known))
    known |= set(sys.modules)
"""
#: The same for the help of all commands at once.
ALL_HELP = """
import sys
import click
from listener.cli import main

def helps(command, name):
    context = click.Context(command, info_name=name)
    print(command.get_help(context))
    for child in command.list_commands(context) if isinstance(command, click.Group) else ():
        helps(command.get_command(context, child), child)

helps(main, "mns-listener")
print(*sys.modules, file=sys.stderr)
"""


def imported(place: Place, program: str, *arguments: str) -> set[str]:
    done = run(place, program, *arguments)
    assert done.stdout or "--drain" in arguments
    return set(done.stderr.splitlines()[-1].split())


def run(place: Place, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=place.folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": place.path, **KEY},
        capture_output=True,
        text=True,
        check=True,
    )


KEY = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "testKeyId",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "testKeySecret",
    "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
}


def test_help_of_the_program_imports_no_command(place: Place) -> None:
    modules = imported(place, RUN, "--help")

    assert {module.partition(":")[0] for module, _ in COMMANDS.values()} & modules == set()
    assert FOR_WORK & modules == set()


def test_no_help_imports_what_only_the_work_needs(place: Place) -> None:
    modules = imported(place, ALL_HELP)

    assert {module.partition(":")[0] for module, _ in COMMANDS.values()} <= modules
    assert FOR_WORK & modules == set()


def test_what_reads_the_store_imports_nothing_else(place: Place) -> None:
    output = run(place, RUN_EACH, *READ_THE_STORE).stdout.splitlines()
    imports = {
        command: set(modules.split()) for command, modules in zip(output[::2], output[1::2], strict=True)
    }

    assert tuple(imports) == READ_THE_STORE
    assert "sqlalchemy" in imports["jobs list"]
    assert {
        command: unwanted for command, modules in imports.items() if (unwanted := modules & ONLY_READS)
    } == {}


def test_a_daemon_imports_only_what_its_settings_need(place: Place) -> None:
    """SQLite, no ``http.listen``, a key in the environment, and no job that MPS has to be asked about."""
    modules = imported(place, RUN, "run", "--drain")

    assert {"mns", "structlog"} <= modules
    assert {*FOR_OTHERS, "rich"} & modules == set()


def test_the_summaries_in_the_help_are_those_of_the_commands() -> None:
    context = click.Context(main)
    own = {name: main.get_command(context, name) for name in COMMANDS}

    assert {name: command and command.get_short_help_str(limit=200) for name, command in own.items()} == {
        name: summary for name, (_, summary) in COMMANDS.items()
    }
