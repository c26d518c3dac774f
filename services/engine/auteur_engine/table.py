"""The truth of one machine: a SQLite table of resources of every kind, written by one thread that commits all that
waits at once. A write is durable (`synchronous=FULL`) when its `on_commit` is called, in the order of the writes.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE resources (
    uid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    resource_version INTEGER NOT NULL,
    resource TEXT NOT NULL,        -- the whole resource as JSON, as kubectl would show it
    finished INTEGER NOT NULL,
    released INTEGER NOT NULL,     -- finished, and nobody holds it
    expires_at REAL,               -- Unix time; NULL while it must stay
    UNIQUE (kind, namespace, name)
) STRICT;
CREATE INDEX resources_unfinished ON resources (finished) WHERE finished = 0;
CREATE INDEX resources_unreleased ON resources (kind, namespace, name) WHERE released = 0;
CREATE INDEX resources_expiry ON resources (expires_at) WHERE expires_at IS NOT NULL;
"""
_PUT = """
INSERT INTO resources (uid, kind, namespace, name, resource_version, resource, finished, released, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (uid) DO UPDATE SET resource_version = excluded.resource_version, resource = excluded.resource,
    finished = excluded.finished, released = excluded.released, expires_at = excluded.expires_at
WHERE excluded.resource_version > resources.resource_version
"""


@dataclass(frozen=True)
class Row:
    """A resource as it is stored."""

    uid: str
    kind: str
    namespace: str
    name: str
    version: int
    text: str
    finished: bool
    released: bool
    expires_at: datetime | None


@dataclass(frozen=True)
class _Write:
    statement: str
    values: tuple[object, ...]
    on_commit: Callable[[], None]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class Table:
    """Opened by one process. Reads happen on the caller's thread and see committed rows only."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, on_fault: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._on_fault = on_fault
        self._writer = _connect(path)
        self._migrate()
        self._reader = _connect(path)
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="table", daemon=True)
        self._thread.start()
        (newest,) = self._reader.execute("SELECT coalesce(max(resource_version), 0) FROM resources").fetchone()
        self._version: int = newest

    @classmethod
    def open(cls, path: Path, on_fault: Callable[[BaseException], None]) -> Self:
        """`on_fault` is told when the disk refuses a write: the process must stop, its memory is ahead of the truth."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(path, asyncio.get_running_loop(), on_fault)

    def _migrate(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise RuntimeError(
                f"the database is of a newer Auteur (schema {version}); this one knows {_SCHEMA_VERSION}"
            )
        if version < _SCHEMA_VERSION:
            self._writer.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join(5)
        self._reader.close()

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def next_version(self) -> int:
        self._version += 1
        return self._version

    def put(self, row: Row, on_commit: Callable[[], None]) -> None:
        until = row.expires_at.timestamp() if row.expires_at else None
        key = (row.uid, row.kind, row.namespace, row.name)
        values = (*key, row.version, row.text, row.finished, row.released, until)
        self._waiting.put(_Write(_PUT, values, on_commit))

    def delete(self, uid: str, on_commit: Callable[[], None]) -> None:
        self._waiting.put(_Write("DELETE FROM resources WHERE uid = ?", (uid,), on_commit))

    def _write_all(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._writer.execute("BEGIN IMMEDIATE")
                for write in batch:
                    self._writer.execute(write.statement, write.values)
                self._writer.execute("COMMIT")
                self._loop.call_soon_threadsafe(_call_all, [write.on_commit for write in batch])
        except BaseException as error:  # noqa: BLE001  # a thread's end must be seen by the process
            self._loop.call_soon_threadsafe(self._on_fault, error)
        finally:
            self._writer.close()

    def _next_batch(self) -> list[_Write] | None:
        """All that waits, at least one; None at the end."""
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < 512 and not self._waiting.empty():
            more = self._waiting.get()
            if more is None:
                self._waiting.put(None)
                break
            batch.append(more)
        return batch

    # ── reading: the resources as JSON ────────────────────────────────────────────────────────────────────────────

    def unfinished(self, kind: str) -> Iterator[str]:
        query = "SELECT resource FROM resources WHERE kind = ? AND finished = 0 ORDER BY resource_version"
        yield from (text for (text,) in self._reader.execute(query, (kind,)))

    def find(self, kind: str, namespace: str, name: str) -> str | None:
        query = "SELECT resource FROM resources WHERE kind = ? AND namespace = ? AND name = ?"
        row = self._reader.execute(query, (kind, namespace, name)).fetchone()
        return None if row is None else str(row[0])

    def unreleased(self, kind: str, namespace: str, after: str, limit: int) -> Iterator[str]:
        """By name."""
        query = (
            "SELECT resource FROM resources"
            " WHERE kind = ? AND namespace = ? AND name > ? AND released = 0 ORDER BY name LIMIT ?"
        )
        yield from (text for (text,) in self._reader.execute(query, (kind, namespace, after, limit)))

    def finished_unreleased(self, kind: str, limit: int) -> Iterator[str]:
        query = "SELECT resource FROM resources WHERE kind = ? AND finished = 1 AND released = 0 LIMIT ?"
        yield from (text for (text,) in self._reader.execute(query, (kind, limit)))

    def expired(self, kind: str, now: datetime, limit: int) -> list[tuple[str, str, str]]:
        """Namespace, name and uid."""
        query = (
            "SELECT namespace, name, uid FROM resources WHERE kind = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?"
        )
        return list(self._reader.execute(query, (kind, now.timestamp(), limit)))


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()
