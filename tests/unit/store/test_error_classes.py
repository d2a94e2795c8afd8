"""Which errors are about the values, and which ones are an outage."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from psycopg import errors

from listener.store.error_classes import rejects_values
from tests.support.cases import each_case


@each_case(
    "error",
    [
        pytest.param(errors.ProgramLimitExceeded(), id="index-row-too-large"),
        pytest.param(errors.UntranslatableCharacter(), id="untranslatable"),
        pytest.param(errors.CharacterNotInRepertoire(), id="not-in-repertoire"),
        pytest.param(errors.NumericValueOutOfRange(), id="numeric-overflow"),
        pytest.param(errors.StringDataRightTruncation(), id="too-long"),
        pytest.param(errors.NotNullViolation(), id="not-null"),
        pytest.param(errors.FeatureNotSupported(), id="not-supported"),
        pytest.param(errors.DataCorrupted(), id="corrupted"),
        pytest.param(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), id="nul"),
        pytest.param(psycopg.ProgrammingError("cannot adapt type 'set'"), id="wrong-type"),
        pytest.param(sqlite3.DataError("string or blob too big"), id="sqlite-too-big"),
        pytest.param(sqlite3.IntegrityError("CHECK constraint failed"), id="sqlite-constraint"),
        pytest.param(
            sqlite3.ProgrammingError("Error binding parameter 1: type not supported"),
            id="sqlite-type",
        ),
        pytest.param(sqlite3.OperationalError("Could not decode to UTF-8 column 'raw'"), id="sqlite-text"),
    ],
)
def test_an_error_about_the_values_is_a_rejection(error: Exception) -> None:
    assert rejects_values(error)


@each_case(
    "error",
    [
        pytest.param(errors.DiskFull(), id="disk"),
        pytest.param(errors.OutOfMemory(), id="memory"),
        pytest.param(errors.TooManyConnections(), id="connections"),
        pytest.param(errors.AdminShutdown(), id="shutdown"),
        pytest.param(errors.CannotConnectNow(), id="starting"),
        pytest.param(errors.ReadOnlySqlTransaction(), id="standby"),
        pytest.param(errors.LockNotAvailable(), id="lock"),
        pytest.param(errors.DeadlockDetected(), id="deadlock"),
        pytest.param(errors.SerializationFailure(), id="serialization"),
        pytest.param(errors.QueryCanceled(), id="cancelled"),
        pytest.param(errors.InsufficientPrivilege(), id="privilege"),
        pytest.param(errors.UndefinedTable(), id="no-table"),
        pytest.param(errors.IoError(), id="io"),
        pytest.param(psycopg.OperationalError("the connection is lost"), id="connection"),
        pytest.param(sqlite3.OperationalError("database is locked"), id="sqlite-locked"),
        pytest.param(sqlite3.OperationalError("database or disk is full"), id="sqlite-full"),
        pytest.param(sqlite3.OperationalError("attempt to write a readonly database"), id="sqlite-readonly"),
        pytest.param(sqlite3.OperationalError("no such table: results"), id="sqlite-no-table"),
        pytest.param(sqlite3.DatabaseError("database disk image is malformed"), id="sqlite-malformed"),
        pytest.param(sqlite3.ProgrammingError("Cannot operate on a closed database."), id="sqlite-closed"),
    ],
)
def test_an_outage_is_not_a_rejection(error: Exception) -> None:
    assert not rejects_values(error)
