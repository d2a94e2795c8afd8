"""Settings for all property tests: a busy machine is no failure, and nothing is left on the disk."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None, database=None, max_examples=60)
settings.load_profile("steady")
