"""Resources of one kind over the table. Every change is made in memory at once (nothing awaits between looking and
deciding), queued for the table, and told and answered when the table has it. So there are no locks, and a crash at any
point leaves the truth on disk.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Generic

from pydantic_core import from_json

from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_control.errors import Conflicted, Exists, Gone
from auteur_control.kinds import Kind
from auteur_control.resources import (
    Expired,
    Key,
    Malformed,
    Patch,
    R,
    Resources,
    StatusT,
    Watcher,
    at_version,
    document_of,
    patched,
    resource_of,
    with_status,
)
from auteur_engine.table import Row, Table
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger

log = get_logger()


class StoredResources(Resources[R, StatusT], Generic[R, StatusT]):
    """Unfinished resources are in memory, from their first write until their last one is on disk."""

    def __init__(self, table: Table, kind: Kind[R, StatusT], clock: Clock) -> None:
        self._table = table
        self._kind = kind
        self._clock = clock
        self._watchers: list[Watcher[R, StatusT]] = []
        self._live: dict[Key, R | Malformed[R]] = {}
        self._keys: dict[str, Key] = {}
        self._pending: dict[str, asyncio.Future[R]] = {}
        """uid → its newest write that is not on disk yet"""
        self._deleting: set[str] = set()
        """uids whose rows are on their way out: their names are free already."""
        for text in table.unfinished(kind.name):
            self._remember(kind.read(from_json(text)))

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, key: Key) -> R | Malformed[R] | None:
        """Memory first: it is ahead of the disk."""
        return self._live.get(key) or self._on_disk(key)

    def _on_disk(self, key: Key) -> R | Malformed[R] | None:
        text = self._table.find(self._kind.name, *key)
        if text is None:
            return None
        found = self._kind.read(from_json(text))
        return None if resource_of(found).metadata.uid in self._deleting else found

    def live(self, key: Key) -> R | Malformed[R] | None:
        known = self._live.get(key)
        return None if known is None or resource_of(known).status.finished else known

    def live_keys(self) -> Iterable[Key]:
        return tuple(self._live)

    def key_of(self, uid: str) -> Key | None:
        return self._keys.get(uid)

    def page(self, namespace: str, after: str, limit: int, most_bytes: int) -> tuple[list[R], bool]:
        found: list[R] = []
        weight = 0
        for text in self._table.unreleased(self._kind.name, namespace, after, limit + 1):
            weight += len(text)
            if found and (weight > most_bytes or len(found) == limit):
                return found, True
            stored = self._kind.read(from_json(text))
            newest = self._live.get(resource_of(stored).key, stored)
            if not isinstance(newest, Malformed) and newest.metadata.uid not in self._deleting:
                found.append(newest)
        return found, False

    def unreleased(self, most: int) -> Iterator[R]:
        for text in self._table.finished_unreleased(self._kind.name, most):
            found = self._kind.read(from_json(text))
            if not isinstance(found, Malformed):
                yield found

    def expired(self, now: datetime, most: int) -> list[Expired]:
        rows = self._table.expired(self._kind.name, now, most)
        return [Expired((namespace, name), uid) for namespace, name, uid in rows]

    async def get(self, key: Key) -> R | None:
        known = self.read(key)
        return None if known is None else resource_of(known)

    def watch(self, watcher: Watcher[R, StatusT]) -> None:
        self._watchers.append(watcher)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, key: Key) -> AbstractAsyncContextManager[None]:  # noqa: ARG002  # decisions are not interrupted
        return contextlib.nullcontext()

    async def create(self, resource: R, first: Callable[[R], StatusT]) -> R:
        key = resource.key
        if self.read(key):
            raise Exists(f"create {'/'.join(key)}", "the name is taken")
        identity = {
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creation_timestamp": resource.metadata.creation_timestamp or self._clock(),
        }
        made = resource.model_copy(update={"metadata": resource.metadata.model_copy(update=identity)})
        return await self._commit(made.model_copy(update={"status": first(made)}), made.status)

    async def update(self, resource: R, status: StatusT) -> R:
        asked, uid = f"update {'/'.join(resource.key)}", resource.metadata.uid
        known = self.read(resource.key)
        if known is None or resource_of(known).metadata.uid != uid:
            raise Gone(asked, "it was deleted")
        if resource_of(known).metadata.resource_version != resource.metadata.resource_version:
            raise Conflicted(asked, "it has changed since")
        if status == resource.status:
            return await self._pending_or(resource)
        return await self._commit(with_status(known, status), resource.status)

    async def patch(self, key: Key, patch: Patch) -> R | None:
        known = self.live(key)
        if known is None or isinstance(known, Malformed):
            return None
        changed = patched(known, patch)
        if changed is known:
            return await self._pending_or(known)
        return await self._commit(changed, None)

    async def delete(self, key: Key, uid: str) -> bool:
        known = self.read(key)
        if known is None or resource_of(known).metadata.uid != uid:
            return False
        self._forget(resource_of(known))
        self._deleting.add(uid)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        version = self._table.next_version()

        def on_commit() -> None:
            self._deleting.discard(uid)
            self._tell(lambda watcher: watcher.on_deleted(resource_of(known), version))
            if not gone.cancelled():
                gone.set_result(None)

        self._table.delete(uid, on_commit)
        await gone
        return True

    async def _pending_or(self, resource: R) -> R:
        """Nothing is changed; but the change that made it so may still be on its way to the disk."""
        pending = self._pending.get(resource.metadata.uid)
        return resource if pending is None else await asyncio.shield(pending)

    async def _commit(self, changed: R | Malformed[R], before: StatusT | None) -> R:
        """Takes it into memory, queues the write; watchers hear of it when it is on disk. `before`: the old status,
        where a status is written.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        version = self._table.next_version()
        changed = at_version(changed, str(version))
        resource = resource_of(changed)
        uid = resource.metadata.uid
        self._remember(changed)
        self._pending[uid] = future

        def on_commit() -> None:
            if self._pending.get(uid) is future:
                del self._pending[uid]
                if resource.status.finished:
                    self._forget(resource)
            if before is None:
                self._tell(lambda watcher: watcher.on_seen(resource.key))
            else:
                self._tell(lambda watcher: watcher.on_written(before, resource))
            if not future.cancelled():
                future.set_result(resource)

        self._table.put(self._row(changed, version), on_commit)
        return await asyncio.shield(future)

    def _tell(self, news: Callable[[Watcher[R, StatusT]], None]) -> None:
        for watcher in self._watchers:
            try:
                news(watcher)
            except Exception:  # the write is done: its writer, and those behind it, must get their answers
                log.exception("watcher failed")

    def _row(self, read: R | Malformed[R], version: int) -> Row:
        resource = resource_of(read)
        meta = resource.metadata
        return Row(
            uid=meta.uid,
            kind=self._kind.name,
            namespace=meta.namespace,
            name=meta.name,
            version=version,
            text=document_of(read),
            finished=resource.status.finished,
            released=self._kind.was_released(resource),
            expires_at=self._kind.expires_at(resource),
        )

    def _remember(self, read: R | Malformed[R]) -> None:
        resource = resource_of(read)
        self._live[resource.key] = read
        self._keys[resource.metadata.uid] = resource.key

    def _forget(self, resource: R) -> None:
        self._keys.pop(resource.metadata.uid, None)
        known = self._live.get(resource.key)
        if known is not None and resource_of(known).metadata.uid == resource.metadata.uid:  # else another's name by now
            del self._live[resource.key]


StoredJobs = StoredResources[GenerationJob, GenerationJobStatus]
