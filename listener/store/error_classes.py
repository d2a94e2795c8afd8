"""Sorts the errors of a database: does it reject these values, or is it unavailable?

What is not known to be about the values counts as unavailable, since it is retried and loses nothing.
"""

from __future__ import annotations

from typing import Final

#: PostgreSQL's classes of error codes that are about values: unsupported feature, data exception, integrity constraint
#: violation, program limit exceeded (an index entry that is too large, for example).
_CLASSES: Final = frozenset({"0A", "22", "23", "54"})
#: Single codes: the stored value is corrupted.
_CODES: Final = frozenset({"XX001"})
#: The same by the names of DB-API exceptions, for errors without a code: those of SQLite, and those that a driver
#: raises before it sends anything.
_EXCEPTIONS: Final = frozenset({"DataError", "IntegrityError", "NotSupportedError"})
#: Phrases of errors about values in exceptions that are mostly about something else.
_PHRASES: Final = ("cannot adapt", "binding parameter", "Could not decode to UTF-8")


def rejects_values(error: BaseException) -> bool:
    """Whether this error of a driver will occur again with the same values, while others can be written."""
    code = getattr(error, "sqlstate", None)
    if code:
        return code[:2] in _CLASSES or code in _CODES
    names = {each.__name__ for each in type(error).__mro__}
    return not names.isdisjoint(_EXCEPTIONS) or any(phrase in str(error) for phrase in _PHRASES)
