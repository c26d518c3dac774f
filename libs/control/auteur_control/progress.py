"""Writes progress and places in the queue into statuses: at most once a second a job, and so many a second over all.
Status is for those who look, events are for those who watch.
"""

from auteur_contracts.events import Envelope, Previewed, Progressed
from auteur_contracts.resources import GenerationJob, GenerationJobStatus, Progress
from auteur_control.fair_queue import FairQueue
from auteur_control.resources import JobResources, Key
from auteur_lifecycle import status as life
from auteur_lifecycle.estimate import Estimates
from auteur_lifecycle.fleet import Fleet

PROGRESS_EVERY = 1.0
_MOST_WRITES = 50
_PLACES = 10
"""First jobs of a queue whose place is in their status."""


class ProgressWriter:
    def __init__(self, jobs: JobResources, queue: FairQueue, estimates: Estimates, fleet: Fleet) -> None:
        self._jobs = jobs
        self._queue = queue
        self._estimates = estimates
        self._fleet = fleet
        self._latest: dict[str, tuple[int, Progress]] = {}
        """uid → what an attempt said last and is not written yet"""

    def hear(self, said: Envelope) -> None:
        job = self._jobs.live((said.namespace, said.name))
        current = isinstance(job, GenerationJob) and job.metadata.uid == said.uid
        if not isinstance(job, GenerationJob) or not current or not life.is_current(job, said.data.attempt):
            return
        _, before = self._latest.get(said.uid, (0, job.status.progress or Progress(phase="")))
        match said.data:
            case Progressed(progress=now):
                kept = now if now.preview_uri else now.model_copy(update={"preview_uri": before.preview_uri})
                self._latest[said.uid] = (said.data.attempt, kept)
            case Previewed(uri=uri):
                self._latest[said.uid] = (said.data.attempt, before.model_copy(update={"preview_uri": uri}))

    async def flush(self) -> None:
        """Writes as much as may be written in a second. What fails is not tried again: newer words come."""
        for uid in tuple(self._latest)[:_MOST_WRITES]:
            attempt, seen = self._latest.pop(uid)
            if (key := self._jobs.key_of(uid)) is not None:
                await self._write_progress(key, attempt, seen)
        for key in tuple(self._queue.fronts(_PLACES)):
            await self._write_place(key)

    async def _write_progress(self, key: Key, attempt: int, seen: Progress) -> None:
        async with self._jobs.hold(key):
            await self._jobs.change(key, lambda job: life.progress(job, attempt, seen))

    async def _write_place(self, key: Key) -> None:
        """Jobs near the front say where they stand; further back the place changes too often, and the API knows."""
        async with self._jobs.hold(key):
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob) and _place_of(job) != self._queue.position(job):
                await self._jobs.change(key, self.placed)

    def placed(self, job: GenerationJob) -> GenerationJobStatus:
        """The job's status, with its place in the queue as it is now."""
        return self._estimates.placed(job, self._queue.position(job), self._fleet)


def _place_of(job: GenerationJob) -> int | None:
    """The place that its status tells."""
    return job.status.queue.position if job.status.queue else None
