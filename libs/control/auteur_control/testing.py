"""The two ports in memory, for tests: small, stateful, and held to what the real ones do by the same suite."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic

from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus
from auteur_control.carriers import Carriers, Catalogue
from auteur_control.errors import Conflicted, Exists, Gone
from auteur_control.kinds import Kind
from auteur_control.readiness import TierSeen, readiness
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
    patched,
    resource_of,
    with_status,
)
from auteur_kit.clock import Clock
from auteur_lifecycle.capabilities import ONE_MACHINE
from auteur_lifecycle.fleet import Fleet
from auteur_lifecycle.refusal import Refusal


class MemoryResources(Resources[R, StatusT], Generic[R, StatusT]):
    """`writable` holds up every write while it is cleared, as a disk or an API server that is slow."""

    def __init__(self, kind: Kind[R, StatusT], clock: Clock) -> None:
        self._kind = kind
        self._clock = clock
        self._stored: dict[Key, R | Malformed[R]] = {}
        self._version = 0
        self._locks: dict[Key, asyncio.Lock] = {}
        self._watchers: list[Watcher[R, StatusT]] = []
        self.writable = asyncio.Event()
        self.writable.set()

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, key: Key) -> R | Malformed[R] | None:
        return self._stored.get(key)

    def live(self, key: Key) -> R | Malformed[R] | None:
        found = self._stored.get(key)
        return None if found is None or resource_of(found).status.finished else found

    def live_keys(self) -> Iterable[Key]:
        return [key for key in self._stored if self.live(key)]

    def key_of(self, uid: str) -> Key | None:
        return next((key for key, found in self._stored.items() if resource_of(found).metadata.uid == uid), None)

    def page(self, namespace: str, after: str, limit: int, most_bytes: int) -> tuple[list[R], bool]:
        wanted = [found for found in self._readable() if found.key[0] == namespace and found.key[1] > after]
        kept = sorted((found for found in wanted if not self._kind.was_released(found)), key=lambda found: found.key)
        weight, page = 0, list[R]()
        for found in kept[:limit]:
            weight += len(found.model_dump_json(exclude_none=True))
            if page and weight > most_bytes:
                break
            page.append(found)
        return page, len(page) < len(kept)

    def unreleased(self, most: int) -> Iterator[R]:
        ended = [found for found in self._readable() if found.status.finished]
        yield from [found for found in ended if not self._kind.was_released(found)][:most]

    def expired(self, now: datetime, most: int) -> list[Expired]:
        due = [
            Expired(found.key, found.metadata.uid)
            for found in self._readable()
            if (until := self._kind.expires_at(found)) is not None and until <= now
        ]
        return due[:most]

    async def get(self, key: Key) -> R | None:
        found = self._stored.get(key)
        return None if found is None else resource_of(found)

    def _readable(self) -> list[R]:
        return [found for found in self._stored.values() if not isinstance(found, Malformed)]

    def watch(self, watcher: Watcher[R, StatusT]) -> None:
        self._watchers.append(watcher)

    def forget_watchers(self) -> None:
        """As when the process ends that watched."""
        self._watchers.clear()

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def hold(self, key: Key) -> AsyncIterator[None]:
        async with self._locks.setdefault(key, asyncio.Lock()):
            yield

    async def create(self, resource: R, first: Callable[[R], StatusT]) -> R:
        await self.writable.wait()
        if resource.key in self._stored:
            raise Exists(f"create {'/'.join(resource.key)}", "the name is taken")
        created = resource.metadata.creation_timestamp or self._clock()
        identity = {"uid": str(uuid.uuid4()), "generation": 1, "creation_timestamp": created}
        made = resource.model_copy(update={"metadata": resource.metadata.model_copy(update=identity)})
        kept = resource_of(self._keep(made.model_copy(update={"status": first(made)})))
        for watcher in self._watchers:
            watcher.on_written(made.status, kept)
        return kept

    async def update(self, resource: R, status: StatusT) -> R:
        await self.writable.wait()
        known = self._stored.get(resource.key)
        if known is None or resource_of(known).metadata.uid != resource.metadata.uid:
            raise Gone(f"update {'/'.join(resource.key)}", "it was deleted")
        if resource_of(known).metadata.resource_version != resource.metadata.resource_version:
            raise Conflicted(f"update {'/'.join(resource.key)}", "it has changed since")
        if status == resource.status:
            return resource
        kept = resource_of(self._keep(with_status(known, status)))
        for watcher in self._watchers:
            watcher.on_written(resource.status, kept)
        return kept

    async def patch(self, key: Key, patch: Patch) -> R | None:
        await self.writable.wait()
        known = self.live(key)
        if known is None or isinstance(known, Malformed):
            return None
        changed = patched(known, patch)
        if changed is not known:
            changed = resource_of(self._keep(changed))
            for watcher in self._watchers:
                watcher.on_seen(key)
        return changed

    async def delete(self, key: Key, uid: str) -> bool:
        await self.writable.wait()
        known = self._stored.get(key)
        if known is None or resource_of(known).metadata.uid != uid:
            return False
        del self._stored[key]
        self._version += 1
        for watcher in self._watchers:
            watcher.on_deleted(resource_of(known), self._version)
        return True

    def leave(self, raw: Mapping[str, Any]) -> None:
        """As another version left it, while nobody watched."""
        self._keep(self._kind.read(raw))

    def _keep(self, read: R | Malformed[R]) -> R | Malformed[R]:
        self._version += 1
        kept = at_version(read, str(self._version))
        self._stored[resource_of(kept).key] = kept
        return kept


MemoryJobs = MemoryResources[GenerationJob, GenerationJobStatus]


class GivenRunners(Carriers):
    """Runners that the test offers in one namespace; whoever sends heartbeats for their pools is a worker."""

    platform = ONE_MACHINE

    def __init__(self, fleet: Fleet, namespace: str, *runners: FunctionRunner) -> None:
        self._fleet = fleet
        self._namespace = namespace
        self.runners = runners
        self.refusal: Refusal | None = None
        """Why no namespace takes jobs."""

    def catalogue(self, namespace: str) -> Catalogue:  # noqa: ARG002  # the same for all
        return tuple(self._with_readiness(runner) for runner in self.runners)

    def catalogues(self) -> Mapping[str, Catalogue]:
        return {self._namespace: self.catalogue(self._namespace)}

    def _with_readiness(self, runner: FunctionRunner) -> FunctionRunner:
        beats = self._fleet.of_runner(runner.metadata.name)
        return runner.model_copy(update={"status": readiness([TierSeen(tier, beats) for tier in runner.spec.tiers])})

    def refuses(self, namespace: str) -> Refusal | None:  # noqa: ARG002  # the same for all
        return self.refusal

    def bars(self, job: GenerationJob, now: datetime) -> GenerationJobStatus | None:  # noqa: ARG002
        return None
