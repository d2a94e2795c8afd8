"""Decisions as pure functions: which results go to which handlers, and when failed attempts are retried."""
