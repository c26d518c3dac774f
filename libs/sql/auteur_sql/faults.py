"""Why a database failed, in words that people may read: those of drivers may name hosts, users and statements."""

import sqlite3

from sqlalchemy.exc import DBAPIError

_SQLSTATE_CLASSES = {
    "08": "the connection was lost",
    "25": "the database is read-only",
    "28": "the database refuses our user or password",
    "3D": "there is no such database",
    "53": "the database has no disk, memory or connections left",
    "57": "the database is starting or shutting down",
}


def cause_of(error: Exception) -> str | None:
    """None for a failure that we have no words for: the log has it."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, sqlite3.Error):
        return str(original)
    if isinstance(original, OSError | TimeoutError):
        return "nobody answers at the database's address"
    return _SQLSTATE_CLASSES.get(str(getattr(original, "sqlstate", None) or "")[:2])
