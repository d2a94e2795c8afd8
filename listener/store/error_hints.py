"""What operators should do about errors of the database, and about a schema of another release."""

from __future__ import annotations

from typing import Final

#: Phrases of the database's own messages, and what to do; the first match counts.
_HINTS: Final = (
    # SQLite
    (
        ("unable to open", "readonly database"),
        "check that the file and its folder are readable and writable for the user that runs mns-listener",
    ),
    (
        ("not a database", "malformed"),
        "set store.url to another file, or restore a backup",
    ),
    (("disk is full", "No space left"), "free disk space; nothing is deleted from the queues meanwhile"),
    (
        ("database is locked",),
        "another process has locked the database (`fuser` shows which one); use PostgreSQL for replicas",
    ),
    (
        ("interrupted",),
        "the transaction took longer than store.timeout; verify that the disk is fast enough",
    ),
    # PostgreSQL
    (
        ("password authentication failed", "no password supplied", "pg_hba.conf"),
        "fix user and password in store.url, or the entry for this user in pg_hba.conf on the server",
    ),
    (('role "',), "fix the user in store.url, or create it with `createuser`"),
    (('database "',), "fix the name in store.url, or create the database with `createdb`"),
    (
        ("resolve host", "translate host name"),
        "fix the host in store.url",
    ),
    (
        (
            "Connection refused",
            "No such file or directory",
            "timeout expired",
            "No route to host",
            "does not answer",
        ),
        "verify that PostgreSQL is running and reachable, or fix the host and port in store.url",
    ),
    (
        ("too many clients", "connection slots"),
        "set max_connections on the server to 16 per replica, or use a connection pooler",
    ),
    (("permission denied",), "grant the user of store.url all rights on its database and schema"),
    (
        ("read-only transaction", "recovery mode"),
        "this server is a standby; set store.url to the primary",
    ),
    # Both
    (("no such table", "no such column", "does not exist"), "run `mns-listener store upgrade`"),
)


def hint(reason: str) -> str:
    """What to do about this message of the database; empty if there is nothing to add."""
    return next((text for phrases, text in _HINTS if any(phrase in reason for phrase in phrases)), "")


def schema_hint(found: str, *, head: str) -> str:
    """What to do about a schema version (empty: no schema) where this release needs ``head``; empty if they match."""
    if found == head:
        return ""
    if not found:
        return (
            "check store.url and the settings file (-c), or create the store with `mns-listener store upgrade`; "
            "`mns-listener run` also does this at startup"
        )
    if found > head:
        return "install the release that created it, or a later one"
    return "run `mns-listener store upgrade`; `mns-listener run` also does this at startup"
