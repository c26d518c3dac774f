"""GenerationJobs over custom resources: read from what the watches showed, written at a resourceVersion."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_control.errors import Conflicted, Gone
from auteur_control.reading import Read, read_job
from auteur_control.resources import (
    Expired,
    JobResources,
    JobWatcher,
    Key,
    Malformed,
    Patch,
    at_version,
    resource_of,
    with_status,
)
from auteur_operator.cluster import Cluster, Json, path_of
from auteur_operator.job_cache import JobCache


def job_path(key: Key, sub: str = "") -> str:
    return path_of(names.API_VERSION, "generationjobs", key[0], key[1], sub)


class ClusterJobs(JobResources):
    """Each job has one writer at a time, which has seen its newest version."""

    def __init__(self, cluster: Cluster, cache: JobCache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._watchers: list[JobWatcher] = []
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}

    # ── what the watches show ─────────────────────────────────────────────────────────────────────────────────────

    def seen(self, raw: dict[str, Any]) -> None:
        meta = raw["metadata"]
        key, version = (meta["namespace"], meta["name"]), int(meta["resourceVersion"])
        if version <= self._cache.version(key):
            return
        before = self._cache.uid(key)
        if before not in ("", meta["uid"]):  # deleted and made anew while nobody watched
            self.gone(key, before, version)
        self._take(read_job(raw))

    def gone(self, key: Key, uid: str, version: int) -> None:
        last = self._cache.drop(key, uid)
        if last is not None:
            for watcher in self._watchers:
                watcher.on_deleted(last, version)

    def _take(self, seen: Read) -> None:
        if self._cache.take(seen):
            for watcher in self._watchers:
                watcher.on_seen(resource_of(seen).key)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, key: Key) -> Read | None:
        return self._cache.read(key)

    def live(self, key: Key) -> Read | None:
        return self._cache.live(key)

    def live_keys(self) -> Iterable[Key]:
        return self._cache.live_keys()

    def key_of(self, uid: str) -> Key | None:
        return self._cache.key_of(uid)

    def page(self, namespace: str, after: str, limit: int, most_bytes: int) -> tuple[list[GenerationJob], bool]:
        wanted = [name for name in self._cache.in_namespace(namespace) if name > after]
        found: list[GenerationJob] = []
        weight = 0
        for count, name in enumerate(wanted):
            job = self._cache.find((namespace, name))
            if job is None:
                continue
            weight += len(job.model_dump_json(exclude_none=True))
            if found and (weight > most_bytes or count == limit):
                return found, True
            found.append(job)
        return found, False

    def unreleased(self, most: int) -> Iterator[GenerationJob]:
        return islice(self._cache.unreleased(), most)

    def expired(self, now: datetime, most: int) -> list[Expired]:
        return self._cache.expired(now, most)

    async def get(self, key: Key) -> GenerationJob | None:
        raw = await self._cluster.find(job_path(key))
        return None if raw is None else resource_of(read_job(raw))

    def watch(self, watcher: JobWatcher) -> None:
        self._watchers.append(watcher)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def hold(self, key: Key) -> AsyncIterator[None]:
        """A lock is forgotten when nobody wants it."""
        lock, wanted = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks[key]
            if wanted == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, wanted - 1)

    async def create(
        self,
        resource: GenerationJob,
        first: Callable[[GenerationJob], GenerationJobStatus],  # noqa: ARG002  # a status is another write here
    ) -> GenerationJob:
        place = path_of(names.API_VERSION, "generationjobs", resource.metadata.namespace)
        made = read_job(await self._cluster.create(place, _manifest(resource)))
        self._take(made)  # a cancel may be next
        return resource_of(made)

    async def update(self, resource: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
        """Watchers are told of a job that was deleted meanwhile when the watch shows its end."""
        if status == resource.status:
            return resource
        known = self._cache.live(resource.key)
        changed = with_status(known if isinstance(known, Malformed) else resource, status)
        try:
            version = await self._cluster.replace(job_path(resource.key, "status"), _status_manifest(changed))
        except Conflicted:
            raw = await self._cluster.find(job_path(resource.key))
            if raw is not None:
                self._cache.take(read_job(raw))
            raise
        written = at_version(changed, version)
        self._cache.take(written)
        for watcher in self._watchers:
            watcher.on_written(resource.status, resource_of(written))
        return resource_of(written)

    async def patch(self, key: Key, patch: Patch) -> GenerationJob | None:
        """The watch will show the change too; taken from the answer, it is reconciled a moment sooner."""
        body: Json = {"spec": dict(patch.spec)}
        if patch.annotations:
            body["metadata"] = {"annotations": dict(patch.annotations)}
        try:
            changed = read_job(await self._cluster.merge(job_path(key), body))
        except Gone:
            return None
        self._take(changed)
        return resource_of(changed)

    async def delete(self, key: Key, uid: str) -> bool:
        """The watch shows its end."""
        await self._cluster.delete(job_path(key), uid=uid)
        return True


def _manifest(asked: GenerationJob) -> Json:
    """The API server gives it its uid and time."""
    meta = asked.metadata
    return {
        "apiVersion": names.API_VERSION,
        "kind": "GenerationJob",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": meta.labels,
            "annotations": meta.annotations,
        },
        "spec": asked.spec.model_dump(mode="json", exclude_defaults=True),
    }


def _status_manifest(changed: Read) -> Json:
    """A write of /status changes nothing but the status, so nothing else is sent."""
    meta = resource_of(changed).metadata
    if isinstance(changed, Malformed):
        status = changed.raw["status"]
    else:
        status = changed.status.model_dump(mode="json", exclude_defaults=True)
    return {
        "apiVersion": names.API_VERSION,
        "kind": "GenerationJob",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        },
        "spec": {},
        "status": status,
    }
