"""The unfinished jobs of one machine and where each stands, in memory: who waits in which line, whose order is on its
way, who runs, who must be looked at when. Pure: time is an argument, and nothing here decides or writes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime

from auteur_contracts.resources import GenerationJob
from auteur_lifecycle import status as life
from auteur_lifecycle.expiry import needs
from auteur_lifecycle.waiting_queue import WaitingQueue
from auteur_standalone.engine.machine import fits

Key = tuple[str, str]
"""Namespace and name."""


class UnfinishedJobs:
    """A job is here from its first write until its last one is on disk. `cards`: GPU memory of the machine, in GB."""

    def __init__(self, cards: tuple[float, ...]) -> None:
        self._cards = cards
        self._jobs: dict[str, GenerationJob] = {}
        self._versions: dict[str, int] = {}
        self._by_key: dict[Key, str] = {}
        self._wanted_by: defaultdict[Key, set[str]] = defaultdict(set)
        self._lines: defaultdict[str, WaitingQueue] = defaultdict(WaitingQueue)
        self._ordered: dict[str, float] = {}
        """uid → when its order was put, for jobs that are dispatched and not claimed yet."""
        self._running: set[str] = set()
        self._due: dict[str, float] = {}
        """uid → when to look at the job though nothing happened."""

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

    def remember(self, job: GenerationJob, version: int, *, now: datetime, monotonic: float) -> None:
        """Keeps every index in step with the job as it is now."""
        uid, status = job.metadata.uid, job.status
        if uid not in self._jobs:
            for name in needs(job):
                self._wanted_by[job.metadata.namespace, name].add(uid)
        self._jobs[uid] = job
        self._versions[uid] = version
        self._by_key[job.key] = uid
        if status.plan is not None:
            line = self._lines[status.plan.pool]
            if self.waits_for_worker(job):
                line.join(job)
            else:
                line.leave(uid)
        unclaimed = status.dispatched and not status.running and not status.finished
        if unclaimed:
            self._ordered.setdefault(uid, monotonic)
        else:
            self._ordered.pop(uid, None)
        (self._running.add if status.running and not status.finished else self._running.discard)(uid)
        self.set_timer(job, now=now, monotonic=monotonic)

    def forget(self, job: GenerationJob, version: int) -> bool:
        """False when it has changed since that version."""
        uid = job.metadata.uid
        if self._versions.get(uid) != version:
            return False
        del self._jobs[uid], self._versions[uid]
        if self._by_key.get(job.key) == uid:  # else its name is another's by now
            del self._by_key[job.key]
        for name in needs(job):
            key = (job.metadata.namespace, name)
            self._wanted_by[key].discard(uid)
            if not self._wanted_by[key]:
                del self._wanted_by[key]
        return True

    def set_timer(self, job: GenerationJob, *, now: datetime, monotonic: float) -> None:
        """Retries, deadlines and start deadlines come without an event."""
        due = life.look_again_at(job)
        if due is not None:
            self._due[job.metadata.uid] = monotonic + (due - now).total_seconds()
        else:
            self._due.pop(job.metadata.uid, None)

    # ── looking up ────────────────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._jobs)

    def uids(self) -> tuple[str, ...]:
        return tuple(self._jobs)

    def get(self, uid: str) -> GenerationJob | None:
        return self._jobs.get(uid)

    def named(self, key: Key) -> GenerationJob | None:
        return self._jobs.get(self._by_key.get(key, ""))

    def version(self, uid: str) -> int:
        return self._versions[uid]

    def waiting_for(self, key: Key) -> tuple[str, ...]:
        """Those whose inputs or parameters come from this job."""
        return tuple(self._wanted_by.get(key, ()))

    def needed(self, namespace: str) -> set[str]:
        """Names that unfinished jobs of the namespace wait for."""
        return {name for (space, name) in self._wanted_by if space == namespace}

    # ── the lines ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def active(self) -> int:
        """Dispatched or running."""
        return len(self._running) + len(self._ordered)

    def waits_for_worker(self, job: GenerationJob) -> bool:
        """For one that this machine has a card for: any worker of the pool would take it."""
        plan = job.status.plan
        return plan is not None and life.ready_for_worker(job) and fits(plan.tier.vram_gigabytes, self._cards)

    def is_line_empty(self, pool: str) -> bool:
        return not len(self._lines[pool])

    def in_line(self, pool: str) -> list[str]:
        return self._lines[pool].uids()

    def position(self, job: GenerationJob) -> int | None:
        plan = job.status.plan
        return self._lines[plan.pool].position(job.metadata.uid) if plan else None

    def orders_on_their_way(self, pool: str) -> int:
        return sum(1 for uid in self._ordered if (plan := self._jobs[uid].status.plan) and plan.pool == pool)

    def next_for(self, free: Callable[[str], int]) -> GenerationJob | None:
        """Whoever is first over all pools with a free worker."""
        heads = [line.head for pool, line in self._lines.items() if line.head and free(pool) > 0]
        return self._jobs[min(heads).uid] if heads else None

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def running(self) -> list[GenerationJob]:
        return [self._jobs[uid] for uid in self._running]

    def take_due(self, monotonic: float) -> list[str]:
        """Each timer goes off once."""
        due = [uid for uid, at in self._due.items() if at <= monotonic]
        for uid in due:
            del self._due[uid]
        return due

    def unclaimed(self, before: float) -> Iterator[GenerationJob]:
        """Jobs whose orders were put before that moment."""
        yield from (self._jobs[uid] for uid, since in tuple(self._ordered.items()) if since < before)

    def ordered_again(self, uid: str, monotonic: float) -> None:
        self._ordered[uid] = monotonic
