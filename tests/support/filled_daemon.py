"""A daemon with something on each of its pages: jobs, dead letters, parked results, quarantined messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import listener
from listener import Client
from tests.support.pages import READER, WRITER
from tests.support.program import NOTIFY_URL, Place, configured_place, unused_endpoint
from tests.support.waiting import wait_until

MEDIA: Final = "oss://media.oss-cn-shanghai.aliyuncs.com"
COVERS, CAPTIONS, PARKED = 5, 3, 3
#: In the file of the handler: as long as it exists, results are refused.
REFUSE: Final = "refuse"
REFUSING = f"""\
import os

from listener import Reject

def take(result):
    if os.path.exists("{REFUSE}"):
        raise Reject("no subtitles are wanted at the moment")
"""
ROUTES: Final = """\
[[routes]]
name = "covers"
match = {{ function = "Cover" }}
handlers = [{{ use = "jsonl", path = "{folder}/covers.jsonl" }}]

[[routes]]
name = "captions"
match = {{ function = "CaptionExtraction", state = ["Success", "Fail"] }}
handlers = [{{ use = "python", callable = "refusing:take", name = "subtitles" }}]
"""


@dataclass(frozen=True)
class FilledDaemon:
    place: Place
    url: str

    def accept(self) -> None:
        """Let the handler take what it has refused so far."""
        (self.place.folder / REFUSE).unlink()


@contextmanager
def filled_daemon(folder: Path) -> Iterator[FilledDaemon]:
    with configured_place(folder) as place:
        place.settings(ROUTES)
        (folder / "refusing.py").write_text(REFUSING)
        (folder / REFUSE).touch()
        (folder / "tokens").write_text(f"write {WRITER}\nread {READER}\n")
        url = unused_endpoint()
        place.run(http__listen=url.removeprefix("http://"), http__token_file="tokens").ready()
        _fill(place)
        yield FilledDaemon(place, url)


def _fill(place: Place) -> None:
    with Client(place.folder / "listener.toml") as client:
        for number in range(COVERS):
            output = f"{MEDIA}/out/{{source}}-{{sequenceId}}.jpg"
            _submit(client, "Cover", f"talk-{number}", output=output)
        for number in range(CAPTIONS):
            _submit(client, "CaptionExtraction", f"subtitles-{number}", output=f"{MEDIA}/out/talk.srt")
    place.send(*(f"{number:032x}" for number in range(PARKED)))
    place.send_raw("this is no callback", '{"Type": "IProduction", "JobId":')
    wait_until(lambda: _is_filled(place))


def _submit(client: Client, function: str, reference: str, *, output: str) -> None:
    listener.submit(
        function,
        client=client,
        input=f"{MEDIA}/in/talk.mp4",
        output=output,
        notify_url=NOTIFY_URL,
        reference=reference,
        data={"article": reference},
    )


def _is_filled(place: Place) -> bool:
    counts = place.queries(lambda queries: queries.counts())
    return (
        counts["deliveries"] == {"done": COVERS, "dead": CAPTIONS}
        and counts["results"].get("parked") == PARKED
        and counts["quarantine"]["messages"] == 2
    )
