"""Decisions as pure functions: which results go to which handlers, and what becomes of a failed attempt."""
