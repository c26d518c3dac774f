"""Writing a job's status: one writer a job at a time, guarded by resourceVersion, announced after it is written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from auteur_contracts import names
from auteur_contracts.events import Envelope
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_kit.clock import Clock
from auteur_lifecycle.facts import envelope, facts_between
from auteur_operator.cluster import Cluster, Conflicted, Gone, Json, path_of
from auteur_operator.jobs import Jobs, Malformed, read
from auteur_operator.turns import Key

SOURCE = "operator"
_TRIES = 8


def job_path(key: Key, sub: str = "") -> str:
    return path_of(names.API_VERSION, "generationjobs", key[0], key[1], sub)


class Statuses:
    """`announce` takes facts to be said; `on_written(before, after)` hears of every change of ours."""

    def __init__(
        self,
        cluster: Cluster,
        jobs: Jobs,
        clock: Clock,
        announce: Callable[[Envelope], None],
        on_written: Callable[[GenerationJobStatus, GenerationJob], None],
    ) -> None:
        self._cluster = cluster
        self._jobs = jobs
        self._clock = clock
        self._announce = announce
        self._on_written = on_written
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, key: Key) -> AsyncIterator[None]:
        """Nobody else decides about this job meanwhile. A lock is forgotten when nobody wants it."""
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

    async def write(self, job: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
        """Under `hold`. Without a change nothing is written. Raises Conflicted when the job has changed meanwhile (it
        is read anew before), Gone when it is not there any more: the watch shows its end, and that is when it is said.
        """
        if status == job.status:
            return job
        try:
            version = await self._cluster.replace(job_path(job.key, "status"), _status_manifest(job, status))
        except Conflicted:
            await self.refresh(job.key)
            raise
        meta = job.metadata.model_copy(update={"resource_version": version})
        written = job.model_copy(update={"metadata": meta, "status": status})
        self._jobs.take(written)
        self._on_written(job.status, written)
        self.announce(job.status, written)
        return written

    async def change(self, key: Key, decide: Callable[[GenerationJob], GenerationJobStatus]) -> GenerationJob | None:
        """Under `hold`. Decides anew when the job has changed meanwhile. None where there is no such unfinished job."""
        for _ in range(_TRIES):
            job = self._jobs.live(key)
            if job is None or isinstance(job, Malformed):
                return None
            try:
                return await self.write(job, decide(job))
            except Conflicted:
                continue
            except Gone:
                return None
        raise Conflicted(f"update {job_path(key)}", f"it changed {_TRIES} times while it was written")

    async def refresh(self, key: Key) -> None:
        """As the API server has it now."""
        raw = await self._cluster.find(job_path(key))
        if raw is not None:
            self._jobs.take(read(raw))

    def announce(self, before: GenerationJobStatus, job: GenerationJob) -> None:
        """The facts between two statuses, said under the ids that they always have."""
        version = int(job.metadata.resource_version)
        for fact in facts_between(before, job.status, version):
            self._announce(envelope(job, fact, source=SOURCE, now=self._clock()))


def _status_manifest(job: GenerationJob, status: GenerationJobStatus) -> Json:
    """A write of /status changes nothing but the status, so nothing else is sent."""
    meta = job.metadata
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
        "status": status.model_dump(mode="json", exclude_defaults=True),
    }
