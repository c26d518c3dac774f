"""Keeps account of jobs: which of them wait, whose turn it is, which are active. Updated after every write of a status,
asked before the next decision. Nothing is made or written here.
"""

import time
from collections import Counter
from typing import Protocol

from auteur_contracts.orders import WorkerState
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType, Reason
from auteur_control.fair_queue import NO_POOL, UNLIMITED, FairQueue, Limits, Placement, Supply, Turn
from auteur_control.resources import Key
from auteur_lifecycle.fleet import Fleet


class Capacity(Protocol):
    """What carriers say of their pools."""

    def most_workers(self, pool: str) -> int:
        """How many warm workers the pool may have. 0: it has none and gets none."""

    def is_of_attempt(self, worker: str, pool: str) -> bool:
        """Whether it is the agent in a pod of one attempt, and none of the pool's workers."""


class Accounting:
    def __init__(self, limits: Limits, fleet: Fleet, capacity: Capacity) -> None:
        self.queue = FairQueue(limits)
        self._fleet = fleet
        self._capacity = capacity
        self._granted: dict[Key, Turn] = {}
        """Whose turn it is, until the dispatch is written."""
        self._promised: Counter[str] = Counter()
        """pool → warm workers that were promised and not ordered yet"""
        self._ordered: dict[str, tuple[str, float]] = {}
        """uid → pool and when its order was put, until it is claimed"""
        self._running: dict[str, Key] = {}
        self._serving: dict[str, tuple[str, str]] = {}
        """uid → pool and the warm worker that has it"""

    # ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def turn_of(self, key: Key) -> Turn | None:
        return self._granted.get(key)

    def join(self, job: GenerationJob) -> None:
        """The job waits for nothing but its turn."""
        if job.key not in self._granted:
            self.queue.join(job)

    def give_turns(self) -> list[Key]:
        """Gives turns while the next job can be carried. Returns the jobs that got one."""
        given = []
        while (turn := self.queue.next(self._supply)) is not None:
            self.queue.leave(turn.uid)
            self.queue.begin(turn.key[0], turn.uid)
            self._granted[turn.key] = turn
            if turn.placement is Placement.WORKER:
                self._promised[turn.pool] += 1
            given.append(turn.key)
        return given

    def stand_down(self, uid: str, key: Key) -> None:
        """The job does not wait for a turn (any more)."""
        self.queue.leave(uid)
        self.return_turn(key)

    def return_turn(self, key: Key) -> None:
        """Nothing is dispatched by it, or by now it is written."""
        granted = self._granted.pop(key, None)
        if granted is None:
            return
        if granted.placement is Placement.WORKER:
            self._promised[granted.pool] -= 1
        self.queue.end(key[0], granted.uid)

    def _supply(self, pool: str) -> Supply:
        most = self._capacity.most_workers(pool)
        if not most:
            return NO_POOL
        ready = self._fleet.count(pool, WorkerState.READY, time.monotonic())
        taken = self._promised[pool] + self.ordered(pool)
        coming = UNLIMITED if most == UNLIMITED else max(0, most - len(self.busy(pool)) - taken)
        return Supply(free=ready - taken, coming=coming)

    # ── counts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def busy(self, pool: str) -> set[str]:
        """The pool's warm workers that have a job: as their jobs say, which is known from the start, or as they say
        themselves. The agent in a pod of one attempt beats for the pool too, and is none of its workers.
        """
        told = self._fleet.in_state(pool, WorkerState.BUSY, time.monotonic())
        working = {worker for worker in told if not self._capacity.is_of_attempt(worker, pool)}
        return working | {worker for found, worker in self._serving.values() if found == pool}

    def ordered(self, pool: str) -> int:
        """Orders on their way to the pool's workers."""
        return sum(1 for found, _ in self._ordered.values() if found == pool)

    def waiting(self, pool: str) -> int:
        """Jobs in the queue, promised a worker, or with an order that nobody has claimed."""
        return self.queue.waiting(pool) + self.ordered(pool) + self._promised[pool]

    def running(self) -> list[Key]:
        return list(self._running.values())

    def unclaimed(self, before: float) -> list[str]:
        """Uids of jobs whose orders were put before that moment."""
        return [uid for uid, (_, since) in self._ordered.items() if since < before]

    def ordered_again(self, uid: str) -> None:
        pool, _ = self._ordered[uid]
        self._ordered[uid] = (pool, time.monotonic())

    # ── what was written ──────────────────────────────────────────────────────────────────────────────────────────

    def account(self, job: GenerationJob) -> bool:
        """Whether an order of the job waits for a worker to claim it."""
        uid, key, status = job.metadata.uid, job.key, job.status
        active = status.dispatched and not status.finished
        if active:
            self.return_turn(key)
            self.queue.leave(uid)
            self.queue.begin(key[0], uid)
        elif key not in self._granted:
            self.queue.end(key[0], uid)
        ours = active and is_of_pool(status) and status.plan is not None
        if ours and not status.running and status.plan is not None:
            self._ordered.setdefault(uid, (status.plan.pool, time.monotonic()))
        else:
            self._ordered.pop(uid, None)
        running = status.running and not status.finished
        if running:
            self._running[uid] = key
        else:
            self._running.pop(uid, None)
        if running and is_of_pool(status) and status.plan is not None:
            self._serving[uid] = (status.plan.pool, status.worker)
        else:
            self._serving.pop(uid, None)
        return uid in self._ordered

    def forget(self, key: Key, uid: str) -> None:
        """The job was deleted."""
        self.stand_down(uid, key)
        self.queue.end(key[0], uid)
        self._ordered.pop(uid, None)
        self._running.pop(uid, None)
        self._serving.pop(uid, None)


def has_own_pod(status: GenerationJobStatus) -> bool:
    """Whether the attempt is one of a pod of its own."""
    return _dispatched_as(status) is Reason.POD_CREATED


def is_of_pool(status: GenerationJobStatus) -> bool:
    """Whether the attempt is one of a warm worker. A newer version may know other carriers: neither of the two."""
    return _dispatched_as(status) is Reason.ORDERED


def _dispatched_as(status: GenerationJobStatus) -> Reason | None:
    held = status.condition(ConditionType.DISPATCHED)
    return None if held is None else held.reason
