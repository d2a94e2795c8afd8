"""What tests share: builders, fakes, clients, and the programs that they start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: The checkout.
ROOT: Final = Path(__file__).parents[2]
