"""``mns-listener replay``: send recorded messages to a queue."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import click

from listener.cli.common import config_option, json_option, print_json, print_warnings, settings_from
from listener.cli.sending import can_be_sent, chosen_queue, confirm_queue, sender, sending_options
from listener.core.errors import UsageError
from listener.core.lazy_imports import lazy_imports
from listener.formats.nouns import noun

with lazy_imports():
    from listener.formats import callback_rewriting

EPILOG = """\b
Examples:
  mns-listener replay calls.jsonl
  mns-listener replay calls.jsonl --times 100 --new-ids --rate 200
  mns-listener replay calls.jsonl --queue http://127.0.0.1:8470/queues/mps-callbacks

The file is one of `mns-listener record`, or has JSON lines with a member body. A
daemon that has recorded these callbacks already counts them as duplicates: with
--new-ids they are about other jobs, new ones each time. A queue on another machine
is only used after a question.
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@click.option(
    "--times",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Send all of them so often.",
)
@click.option("--new-ids", is_flag=True, help="Give each job a new id, the same for all messages about it.")
@sending_options
@config_option
@json_option
def replay(
    *,
    file: IO[str],
    times: int,
    new_ids: bool,
    queue_name: str,
    rate: float | None,
    yes: bool,
    path: Path | None,
    as_json: bool,
) -> None:
    """Send the messages in a file to a queue, in their order.

    FILE was written by record; - is standard input.
    """
    everything = _bodies(file)
    bodies = [body for body in everything if can_be_sent(body)]
    if skipped := len(everything) - len(bodies):
        print_warnings([f"skipping {skipped} messages with characters that XML, and so MNS, does not allow"])
    settings = settings_from(path)
    queue = chosen_queue(settings, queue_name)
    messages = len(bodies) * times
    confirm_queue(queue, messages=messages, yes=yes)
    with sender(settings, queue, messages=messages, rate=rate) as send:
        for _ in range(times):
            for body in _about_others(bodies) if new_ids else bodies:
                send(body)
    if as_json:
        print_json({"queue": queue.queue, "endpoint": queue.endpoint, "sent": messages})
    else:
        what = noun(messages, "messages")
        click.echo(f"sent {messages} {what} to the queue {queue.queue} at {queue.endpoint}")


def _bodies(file: IO[str]) -> Sequence[str]:
    """Raises UsageError for a line that is none of ``record``."""
    return [
        _body(line, f"{file.name}:{number}") for number, line in enumerate(_lines(file), 1) if line.strip()
    ]


def _lines(file: IO[str]) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise UsageError(f"{file.name} is not valid UTF-8") from error


def _body(line: str, where: str) -> str:
    try:
        body = json.loads(line)["body"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(
            f'{where} is not a line of `mns-listener record`: a JSON object with "body"'
        ) from error
    if not isinstance(body, str):
        raise UsageError(f"{where}: body is not a text")
    return body


def _about_others(bodies: Sequence[str]) -> Iterator[str]:
    """The same messages about new jobs."""
    new: defaultdict[str, str] = defaultdict(lambda: secrets.token_hex(16))
    return (callback_rewriting.with_other_ids(body, new.__getitem__) for body in bodies)
