"""The truth of one machine: a SQLite table of resources, written by one thread that commits all that waits at once.

A write is durable (`synchronous=FULL`) when its `on_commit` is called; those calls come in the order of the writes.
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

from auteur_contracts.commands import Snapshot
from auteur_contracts.resources import GenerationJob
from auteur_kit.logs import get_logger
from auteur_lifecycle.expiry import expires_at

log = get_logger()
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
    released INTEGER NOT NULL,     -- the archive has it
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
_KIND = "GenerationJob"


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


class Ledger:
    """Opened by one process. Reads happen on the caller's thread and see committed rows only."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, on_fault: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._on_fault = on_fault
        self._writer = _connect(path)
        self._migrate()
        self._reader = _connect(path)
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
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

    def put(self, job: GenerationJob, version: int, on_commit: Callable[[], None]) -> None:
        expiry = expires_at(job)
        self._waiting.put(
            _Write(
                _PUT,
                (
                    job.metadata.uid,
                    _KIND,
                    *job.key,
                    version,
                    job.model_dump_json(exclude_none=True),
                    job.status.finished,
                    job.status.archived_time is not None,
                    expiry.timestamp() if expiry else None,
                ),
                on_commit,
            )
        )

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

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def unfinished(self) -> Iterator[Snapshot]:
        query = "SELECT resource_version, resource FROM resources WHERE finished = 0 ORDER BY resource_version"
        yield from (_snapshot(row) for row in self._reader.execute(query))

    def find(self, namespace: str, name: str) -> Snapshot | None:
        query = "SELECT resource_version, resource FROM resources WHERE kind = ? AND namespace = ? AND name = ?"
        row = self._reader.execute(query, (_KIND, namespace, name)).fetchone()
        return None if row is None else _snapshot(row)

    def unreleased(self, namespace: str, after: str, limit: int, most_bytes: int) -> tuple[list[Snapshot], bool]:
        """By name, and whether there are more: at least one, then as many as fit."""
        query = (
            "SELECT resource_version, resource FROM resources"
            " WHERE kind = ? AND namespace = ? AND name > ? AND released = 0 ORDER BY name LIMIT ?"
        )
        found: list[Snapshot] = []
        weight = 0
        for row in self._reader.execute(query, (_KIND, namespace, after, limit + 1)):
            weight += len(row[1])
            if found and (weight > most_bytes or len(found) == limit):
                return found, True
            found.append(_snapshot(row))
        return found, False

    def expired(self, now: datetime, limit: int) -> list[Snapshot]:
        query = "SELECT resource_version, resource FROM resources WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
        return [_snapshot(row) for row in self._reader.execute(query, (now.timestamp(), limit))]


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def _snapshot(row: tuple[int, str]) -> Snapshot:
    version, text = row
    return Snapshot(job=GenerationJob.model_validate_json(text), version=version)
