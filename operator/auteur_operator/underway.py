"""The books of who waits, whose turn it is, and who is under way: kept by what was written, asked before what is next.
Nothing is made or written here.
"""

import time
from collections import Counter

from auteur_contracts.orders import WorkerState
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType, Reason
from auteur_lifecycle.fleet import Fleet
from auteur_operator.supplies import Supplies
from auteur_operator.turns import NO_POOL, Carrier, Key, Supply, Turn, Turns
from auteur_operator.world import World


class UnderWay:
    def __init__(self, turns: Turns, fleet: Fleet, world: World, supplies: Supplies) -> None:
        self._turns = turns
        self._fleet = fleet
        self._world = world
        self._supplies = supplies
        self._granted: dict[Key, Turn] = {}
        """Whose turn it is, until its dispatch is written."""
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
        """It waits for nothing but its turn."""
        if job.key not in self._granted:
            self._turns.join(job)

    def give_turns(self) -> list[Key]:
        """While there is somebody to carry. Returns who got one."""
        given = []
        while (turn := self._turns.next(self._supply)) is not None:
            self._turns.leave(turn.uid)
            self._turns.begin(turn.key[0], turn.uid)
            self._granted[turn.key] = turn
            if turn.carrier is Carrier.WORKER:
                self._promised[turn.pool] += 1
            given.append(turn.key)
        return given

    def is_full(self, namespace: str) -> bool:
        return self._turns.is_full(namespace)

    def stand_down(self, uid: str, key: Key) -> None:
        """It does not wait for a turn (any more)."""
        self._turns.leave(uid)
        self._return_turn(key)

    def _return_turn(self, key: Key) -> None:
        granted = self._granted.pop(key, None)
        if granted is None:
            return
        if granted.carrier is Carrier.WORKER:
            self._promised[granted.pool] -= 1
        self._turns.end(key[0], granted.uid)

    def _supply(self, pool: str) -> Supply:
        most = self._supplies.most(pool)
        if not most:
            return NO_POOL
        ready = self._fleet.count(pool, WorkerState.READY, time.monotonic())
        taken = self._promised[pool] + self.ordered(pool)
        busy = len(self.busy(pool))
        return Supply(free=ready - taken, coming=max(0, most - busy - taken))

    # ── counts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def busy(self, pool: str) -> set[str]:
        """The pool's warm workers that have a job: as their jobs say, which is known from the start, or they do. The
        agent in a pod of one attempt beats for the pool too, and is none of its workers.
        """
        told = self._fleet.in_state(pool, WorkerState.BUSY, time.monotonic())
        working = {worker for worker in told if not self._world.is_of_attempt(worker)}
        return working | {worker for found, worker in self._serving.values() if found == pool}

    def ordered(self, pool: str) -> int:
        """Orders on their way to the pool's workers."""
        return sum(1 for found, _ in self._ordered.values() if found == pool)

    def waiting(self, pool: str) -> int:
        """In line, or promised a worker, or with an order that nobody has claimed."""
        return self._turns.waiting(pool) + self.ordered(pool) + self._promised[pool]

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
        """Whether an order of it waits for somebody to claim it."""
        uid, key, status = job.metadata.uid, job.key, job.status
        under_way = status.dispatched and not status.finished
        if under_way:
            self._return_turn(key)
            self._turns.leave(uid)
            self._turns.begin(key[0], uid)
        elif key not in self._granted:
            self._turns.end(key[0], uid)
        if under_way and not status.running and not has_own_pod(status) and status.plan is not None:
            self._ordered.setdefault(uid, (status.plan.pool, time.monotonic()))
        else:
            self._ordered.pop(uid, None)
        if status.running and not status.finished:
            self._running[uid] = key
        else:
            self._running.pop(uid, None)
        if status.running and not status.finished and not has_own_pod(status) and status.plan is not None:
            self._serving[uid] = (status.plan.pool, status.worker)
        else:
            self._serving.pop(uid, None)
        return uid in self._ordered

    def forget(self, key: Key, uid: str) -> None:
        """The job was deleted."""
        self.stand_down(uid, key)
        self._turns.end(key[0], uid)
        self._ordered.pop(uid, None)
        self._running.pop(uid, None)
        self._serving.pop(uid, None)


def has_own_pod(status: GenerationJobStatus) -> bool:
    """Whether the attempt is one of a pod of its own, not of a warm worker."""
    held = status.condition(ConditionType.DISPATCHED)
    return held is not None and held.reason is Reason.POD_CREATED
