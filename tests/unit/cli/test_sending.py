"""What ends in the middle says how much was sent."""

from __future__ import annotations

import pytest

from listener.cli.sending import chosen_queue, sender
from listener.core.errors import Interrupted, QueueUnavailable
from listener.emulator.faults import Fault, FaultKind
from listener.settings.loader import settings_from
from tests.support.program import Place


def test_ctrl_c_says_how_many_messages_were_sent(place: Place) -> None:
    settings = settings_from(place.folder / "listener.toml")

    def interrupted() -> None:
        with sender(settings, chosen_queue(settings, ""), messages=5, rate=None) as send:
            send("a")
            send("b")
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="interrupted; 2 of 5 messages were sent"):
        interrupted()

    assert place.messages_left() == 2


def test_an_outage_says_how_many_messages_were_sent(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_from(place.folder / "listener.toml")
    fault = Fault(kind=FaultKind.ERROR, operation="SendMessage", skip=3)
    place.server.call(lambda emulator: emulator.faults.add([fault]))

    def send_five() -> None:
        with sender(settings, chosen_queue(settings, ""), messages=5, rate=None) as send:
            for number in range(5):
                send(str(number))

    with pytest.raises(QueueUnavailable):
        send_five()

    assert (capsys.readouterr().err, place.messages_left()) == ("3 of 5 messages were sent\n", 3)
