"""``mns-listener explain``: what happens to a message, or happened to a job, and why."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from listener.cli import completing
from listener.cli.common import (
    ROW_ID,
    config_option,
    json_option,
    opened_store,
    page_options,
    print_json,
    print_next_page,
    settings_from,
)
from listener.core.documents import to_plain
from listener.core.errors import NotFound, UsageError
from listener.core.lazy_imports import lazy_imports
from listener.formats.unicode_text import shortened, visible

with lazy_imports():
    from listener import explanations
    from listener.cli import explanation_text
    from listener.store import job_names
    from listener.store import queries as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from listener.cli.explanation_text import Explained
    from listener.explanations import ExplainedJob, ExplainedMessage, ExplainedResult, Explanations
    from listener.rules.explanation import Explanation
    from listener.settings.sections import Settings
    from listener.store.database import Database

#: A message of MNS has at most 64 KiB.
MAX_MESSAGE: Final = 1024 * 1024
#: What may be the name of a job.
_NAME: Final = re.compile(r"[^\s{}\[\]<>\"]{1,256}")
#: What is more likely meant as the name of a file than as a message.
_PATH: Final = re.compile(r"(~|\.{0,2}/)|.*\.(jsonl?|txt|xml)$", re.IGNORECASE)

EPILOG = """\b
Examples:
  mns-listener explain callback.json
  mns-listener explain '{"JobId": "39f8e0bc", "State": "Success"}'
  mns-listener explain - --queue mps-callbacks < message.txt
  mns-listener explain talk-7
  mns-listener explain --parked 41
  mns-listener explain --quarantine 4 --json
"""


@click.command(epilog=EPILOG)
@click.argument("subject", metavar="[MESSAGE|FILE|JOB]", default="", shell_complete=completing.jobs_and_files)
@click.option("--dead-letter", "dead_letter", type=ROW_ID, help="Explain the dead letter with this id.")
@click.option("--parked", type=ROW_ID, help="Explain the result with this id, whether it is parked or not.")
@click.option("--quarantine", type=ROW_ID, help="Explain the quarantined message with this id.")
@click.option(
    "--queue",
    default=None,
    help="The queue that brings the message.  [default: the first one]",
    shell_complete=completing.queues,
)
@page_options
@click.option("--offline", is_flag=True, help="Do without the store: as if it knew no job.")
@config_option
@json_option
def explain(
    *,
    subject: str,
    queue: str | None,
    before: int | None,
    limit: int,
    offline: bool,
    path: Path | None,
    as_json: bool,
    **rows: int | None,
) -> None:
    """Explain what happens to a message, or happened to a job, and why.

    The argument is the text of a message as MNS delivers it, the name of a file with such a text, - for standard input,
    or a job by its id, run id, reference or token, or the beginning of one. Nothing is sent, received or changed.

    Of a job the newest results are explained. If there are others, standard error, and "next" of --json, which has the
    same page, say with which --before to go on.
    """
    chosen = {name: row for name, row in rows.items() if row is not None}
    if len(chosen) + bool(subject) != 1:
        raise UsageError("specify one of: a message, a file, a job, --dead-letter, --parked, --quarantine")
    settings = settings_from(path)
    with _database(settings, offline=offline) as database:
        explained = explanations.Explanations(settings, database)
        found: Explained
        if chosen:
            ((kind, row),) = chosen.items()
            found = _of_row(explained, kind, row)
        else:
            job = partial(explained.job, before=before or 0, limit=limit)
            found = _of_subject(explained, subject, database, queue=queue, job=job)
    if before is not None and not isinstance(found, explanations.ExplainedJob):
        raise UsageError(f"--before {before} requires a job: only jobs are explained in pages")
    if as_json:
        print_json(to_plain(found))
    else:
        for line in explanation_text.lines_of(found):
            click.echo(visible(line))
    if isinstance(found, explanations.ExplainedJob):
        print_next_page(found.next or 0)


@contextmanager
def _database(settings: Settings, *, offline: bool) -> Iterator[Database | None]:
    if offline:
        yield None
        return
    with opened_store(settings, read_only=True) as store:
        yield store.database


def _of_row(explained: Explanations, kind: str, row: int) -> ExplainedResult | ExplainedMessage:
    if kind == "dead_letter":
        return explained.dead_letter(row)
    return explained.result(row) if kind == "parked" else explained.quarantined(row)


def _of_subject(
    explained: Explanations,
    subject: str,
    database: Database | None,
    *,
    queue: str | None,
    job: Callable[[str], ExplainedJob | None],
) -> ExplainedJob | Explanation:
    """A job, a file or a message; whatever it can be, in this order."""
    if subject == "-":
        return explained.message(_text_of(sys.stdin.buffer.read(MAX_MESSAGE)), queue=queue)
    if known := job(subject):
        return known
    if _is_file(subject):
        with Path(subject).open("rb") as file:
            return explained.message(_text_of(file.read(MAX_MESSAGE)), queue=queue)
    message = explained.message(subject, queue=queue)
    if message.result or not _NAME.fullmatch(subject):
        return message
    is_path = bool(_PATH.match(subject))  # its characters are those of base64
    if message.reading and message.reading.wrappings and not is_path:
        return message
    if database is not None and (name := job_names.whole_name(stored.Queries(database), subject)):
        return job(name) or message
    if is_path:
        raise NotFound(
            f"there is no file {shortened(subject, 60)!r}, and no job in this store with this name"
        )
    error = message.reading.error if message.reading else ""
    raise NotFound(
        f"no job in this store and no file is named {shortened(subject, 60)!r}; as a message: {error}"
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # as a name it is too long
        return False


def _text_of(body: bytes) -> str:
    """As MNS delivers it: text in UTF-8."""
    return body.decode("utf-8", "replace")
