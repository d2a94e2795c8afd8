"""``python -m tests.soak``: see tests/soak/campaign.py."""

from __future__ import annotations

import sys

from tests.soak.campaign import main

if __name__ == "__main__":
    sys.exit(main())
