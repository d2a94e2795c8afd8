"""What people are told to do about an error of the database."""

from __future__ import annotations

from typing import Final

#: Words in the database's own message, and the way out; the first that fits counts.
_HINTS: Final = (
    # SQLite
    (
        ("unable to open", "readonly database"),
        "see that the file and its folder are writable for the user that runs mns-listener",
    ),
    (
        ("not a database", "malformed"),
        "name another file in store.url, or put a backup in its place",
    ),
    (("disk is full", "No space left"), "make room there; nothing is deleted from the queues meanwhile"),
    (
        ("database is locked",),
        "another process holds the database; `fuser` tells which; replicas want PostgreSQL",
    ),
    # PostgreSQL
    (
        ("password authentication failed", "no password supplied", "pg_hba.conf"),
        "mend user and password in store.url, or what pg_hba.conf on the server says of them",
    ),
    (('role "',), "mend the user in store.url, or create it with `createuser`"),
    (('database "',), "mend the name in store.url, or create the database with `createdb`"),
    (
        ("resolve host", "translate host name"),
        "mend the host in store.url",
    ),
    (
        ("Connection refused", "No such file or directory", "timeout expired", "No route to host"),
        "see that PostgreSQL runs there and may be reached, or mend host and port in store.url",
    ),
    (
        ("too many clients", "connection slots"),
        "let max_connections on the server be 16 for each replica, or put a pooler between",
    ),
    (("permission denied",), "grant the user of store.url all rights on its database and schema"),
    (
        ("read-only transaction", "recovery mode"),
        "name the primary in store.url; this is a standby",
    ),
    # Both
    (("no such table", "no such column", 'relation "', 'column "'), "run `mns-listener store upgrade`"),
)


def hint(reason: str) -> str:
    """What to do about it; empty where the message says enough."""
    return next((way_out for words, way_out in _HINTS if any(word in reason for word in words)), "")
