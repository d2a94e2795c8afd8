"""The files of a new handler package. ``{name}`` is that of the handler, ``{module}`` that of its module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=70.1"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = "The handler {name} for mns-listener"
requires-python = ">=3.11"
dependencies = ["mns-listener>={version}"]

[project.optional-dependencies]
test = ["pytest>=8"]

# What `use = "{name}"` in a settings file finds.
[project.entry-points."mns_listener.handlers"]
{name} = "{module}:{module}"

[tool.setuptools]
py-modules = ["{module}"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]
"""

_HANDLER: Final = '''\
"""The handler ``{name}``: saves each result once, however often it is delivered."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from listener import JobResult, Reject, Unavailable

TABLE = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, job_id TEXT, state TEXT, outputs INTEGER)"


def {module}(*, path: Path) -> Callable[[JobResult], None]:
    """Make the handler. The keyword arguments are its options in the settings file, checked by their types.

    Called when the daemon starts. A ValueError or OSError stops it, and its text is shown to the operator.
    """
    if not path.parent.is_dir():
        raise ValueError(f"path = {{str(path)!r}}: there is no folder {{str(path.parent)!r}}")

    def handle(result: JobResult) -> None:
        """Returning means done, raising means not done: then it is called again, after a pause.

        Called from several threads, and again for a result that it may have handled already: after an error, or
        after a crash between its end and the moment when that was recorded. So whatever it does must have the same
        effect when it is repeated. ``result.key`` is the same for each repetition, and for no other result.
        """
        if not result.job_id:
            raise Reject("the result is not about a job")  # a dead letter at once: repeating would not help
        try:
            save(result)
        except sqlite3.OperationalError as error:  # locked, say: repeated later, which spends no attempt
            raise Unavailable(str(error)) from error

    def save(result: JobResult) -> None:
        outputs = len(result.outputs.files) if result.outputs else 0
        row = (result.key, result.job_id, result.state, outputs)
        with closing(sqlite3.connect(path, timeout=5)) as database, database:
            database.execute(TABLE)
            database.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?)", row)

    return handle
'''

_TEST: Final = '''\
"""The handler ``{name}``, called as the daemon calls it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from listener import SettingsError
from listener.testing import HandlerRunner, make_result

from {module} import {module}


def saved(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT job_id, state FROM results").fetchall()


def test_a_result_is_saved_once_however_often_it_is_delivered(tmp_path: Path) -> None:
    path, result = tmp_path / "results.db", make_result(function="Cover")

    with HandlerRunner.from_options({module}, {{"path": str(path)}}) as runner:
        outcomes = [runner.run(result).outcome for _ in range(2)]

    assert outcomes == ["done", "done"]
    assert saved(path) == [(result.job_id, "Success")]


def test_a_result_without_a_job_is_a_dead_letter_at_once(tmp_path: Path) -> None:
    with HandlerRunner.from_options({module}, {{"path": str(tmp_path / "results.db")}}) as runner:
        report = runner.run(make_result(type="ProduceMediaComplete", media_id="m1", job_id=""))

    assert (report.outcome, report.reason) == ("dead", "Reject: the result is not about a job")


def test_an_outage_of_the_database_spends_no_attempt(tmp_path: Path) -> None:
    (tmp_path / "results.db").mkdir()

    with HandlerRunner.from_options({module}, {{"path": str(tmp_path / "results.db")}}) as runner:
        report = runner.run(make_result())

    assert (report.outcome, report.spent) == ("retry", False)


def test_a_folder_that_does_not_exist_stops_the_daemon_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no folder"):
        HandlerRunner.from_options({module}, {{"path": str(tmp_path / "nothing" / "results.db")}})
'''

_README: Final = """\
# {name}

A handler for [mns-listener](https://github.com/mns-listener/mns-listener).

```sh
pip install -e '.[test]'
pytest
```

Install it where the daemon runs (`pip install .` in the same environment), and name it in a route of the settings file:

```toml
[[routes]]
name = "{name}"
match = {{ function = "Cover" }}
handlers = [{{ use = "{name}", path = "results.db" }}]
```

`mns-listener check` says whether the daemon finds it, and whether its options are right. A restart loads a new version.
"""

_IGNORED: Final = """\
__pycache__/
*.egg-info/
build/
"""

#: By their paths in the folder of the package.
_FILES: Final[Mapping[str, str]] = {
    "pyproject.toml": _PYPROJECT,
    "{module}.py": _HANDLER,
    "tests/test_{module}.py": _TEST,
    "README.md": _README,
    ".gitignore": _IGNORED,
}


def files_of(name: str, *, module: str, version: str) -> Mapping[str, str]:
    """The files of the package, by their paths. ``version`` is that of the listener which it needs at least."""
    words = {"name": name, "module": module, "version": version}
    return {path.format(**words): text.format(**words) for path, text in _FILES.items()}
