"""Documents are checked against JSON schemas."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any
from unittest.mock import patch


@cache
def validator() -> Any:
    """Formats are not checked here, and the package for one of them takes seconds to build its grammars."""
    with patch.dict(sys.modules, {"rfc3987_syntax": None}):
        from jsonschema import Draft202012Validator

    return Draft202012Validator
