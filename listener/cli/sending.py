"""Sends messages to a queue by hand: to which one, the question before a real one, the pace and the progress."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from listener.cli import completing
from listener.cli.common import print_warnings
from listener.core.errors import Interrupted, UnavailableError, UsageError
from listener.core.lazy_imports import lazy_imports
from listener.core.loopback import is_loopback
from listener.formats.nouns import noun

with lazy_imports():
    from listener.aliyun import mns_admin, tenant_clients
    from listener.cli import progress
    from listener.formats import queue_url
    from listener.runtime import rate_limit
    from listener.settings import sections

if TYPE_CHECKING:
    from listener.aliyun.mns_admin import MnsQueueAdmin
    from listener.settings.sections import QueueSettings, Settings

#: Characters that no XML document may have, and lone surrogates, which are in no encoding.
_NOT_IN_XML: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")

F = TypeVar("F", bound=Callable[..., Any])


def queue_option(command: F) -> F:
    """Adds ``--queue``, for ``chosen_queue``."""
    return click.option(
        "--queue",
        "queue_name",
        default="",
        metavar="NAME|URL",
        shell_complete=completing.queues,
        help="A queue of the settings by its name, or any by its URL.  [default: the only one in the settings]",
    )(command)


def sending_options(command: F) -> F:
    """Adds ``--queue``, ``--rate`` and ``--yes``."""
    rate = click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        default=None,
        help="Messages per second.  [default: no limit]",
    )
    yes = click.option(
        "-y", "--yes", is_flag=True, help="Do not ask before sending to a queue of another machine."
    )
    return queue_option(rate(yes(command)))


def chosen_queue(settings: Settings, given: str) -> QueueSettings:
    """The queue that ``--queue`` names. Raises UsageError."""
    if "://" in given:
        return _by_url(settings, given)
    found = [each for each in settings.queues if given in ("", each.label)]
    if len(found) == 1:
        return found[0]
    labels = ", ".join(each.label for each in settings.queues) or "none"
    problem = (
        f"--queue: {given!r} is not a queue of the settings"
        if given
        else f"{'several queues are' if found else 'no queue is'} in the settings"
    )
    raise UsageError(
        f"{problem}; use --queue with one of their names ({labels}), or with a URL such as "
        "http://127.0.0.1:8470/queues/mps-callbacks"
    )


def _by_url(settings: Settings, url: str) -> QueueSettings:
    """That of the settings, whose key may be that of a tenant; else one with the key of the top level."""
    try:
        endpoint, name = queue_url.split_queue_url(url)
    except ValueError as error:
        raise UsageError(f"--queue: {error}") from error
    for queue in settings.queues:
        if (queue.endpoint.rstrip("/"), queue.queue) == (endpoint, name):
            return queue
    return sections.QueueSettings(url=url)


def confirm_queue(queue: QueueSettings, *, messages: int, yes: bool) -> None:
    """Ask before messages are sent to a queue of another machine. Raises UsageError where there is no terminal."""
    if yes or is_loopback(urlsplit(queue.endpoint).hostname or ""):
        return
    where = f"the queue {queue.queue} at {queue.endpoint}"
    print_warnings(
        [f"{where} is not on this machine: its consumers cannot tell these messages from callbacks of MPS"]
    )
    if not sys.stdin.isatty():
        raise UsageError(f"{where} requires --yes where there is no terminal to ask at")
    click.confirm(f"Send {messages} {noun(messages, 'messages')} to it?", abort=True, err=True)


def can_be_sent(body: str) -> bool:
    """Whether MNS can take a message with this body, which travels in XML."""
    return not _NOT_IN_XML.search(body)


def opened_queue(settings: Settings, queue: QueueSettings) -> MnsQueueAdmin:
    """To be closed; nothing is sent yet."""
    return mns_admin.MnsQueueAdmin(
        endpoint=queue.endpoint,
        queue=queue.queue,
        name=queue.label,
        credentials=tenant_clients.TenantClients(settings).keys(queue.tenant),
    )


@contextmanager
def sender(
    settings: Settings, queue: QueueSettings, *, messages: int, rate: float | None
) -> Iterator[Callable[[str], None]]:
    """A function that sends one message body, at this pace; a bar on a terminal shows how many of all were sent.

    Raises QueueUnavailable, and Interrupted after SIGINT.
    """
    limiter = rate_limit.RateLimiter(rate) if rate else None
    sent = 0
    with closing(opened_queue(settings, queue)) as admin, _progress(messages) as report:

        def send(body: str) -> None:
            nonlocal sent
            if not can_be_sent(body):
                raise UsageError(
                    "the message has characters that XML, and so MNS, does not allow; nothing was sent"
                )
            if limiter:
                limiter.wait()
            admin.send(body)
            sent += 1
            report(sent)

        try:
            yield send
        except KeyboardInterrupt as error:
            raise Interrupted(f"interrupted; {sent} of {messages} messages were sent") from error
        except UnavailableError:
            click.echo(f"{sent} of {messages} messages were sent", err=True)
            raise


@contextmanager
def _progress(messages: int) -> Iterator[Callable[[int], None]]:
    if messages == 1 or not sys.stderr.isatty():
        yield lambda _sent: None
        return
    with progress.bars("sent") as report:
        yield lambda sent: report("sent", sent, messages)
