"""``python -m listener`` is ``mns-listener``."""

from __future__ import annotations

from listener.cli import main

if __name__ == "__main__":
    main(prog_name="mns-listener")
