"""The command line within the process of the tests."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

Invoke = Callable[..., Result]
"""What the fixture ``invoke`` is."""
