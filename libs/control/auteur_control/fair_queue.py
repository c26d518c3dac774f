"""Whose turn it is: fair between namespaces, by priority and age within one, a warm worker where there is one, else a
pod of its own. Pure: counts are arguments, and nothing is made or written here.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from auteur_contracts.resources import GenerationJob
from auteur_control.resources import Key
from auteur_lifecycle.waiting_queue import Place, WaitingQueue


class Placement(Enum):
    """Who executes an attempt."""

    WORKER = auto()
    """A warm worker of the tier's pool."""
    POD = auto()
    """A pod of its own, by a batch/v1 Job."""


@dataclass(frozen=True)
class Supply:
    """What a pool offers now."""

    free: int
    """Ready workers, less the orders on their way to them."""
    coming: int
    """Workers that the pool may still get, up to its maximum: jobs wait in the queue for one of these."""


NO_POOL = Supply(0, 0)
UNLIMITED = sys.maxsize


@dataclass(frozen=True)
class QueueKey:
    """What a job waits for: a worker of a pool, or (`own_pod`: its Kueue queue decides when) a pod and nothing else.
    Jobs of the two kinds never stand in each other's way, so they stand in two queues.
    """

    pool: str
    own_pod: bool


@dataclass(frozen=True)
class Turn:
    key: Key
    uid: str
    pool: str
    placement: Placement


@dataclass(frozen=True)
class Limits:
    """Jobs that may be active (dispatched or running) at once."""

    per_namespace: int = UNLIMITED
    total: int = UNLIMITED


class FairQueue:
    """Jobs that wait for nothing but a worker."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._queues: defaultdict[str, dict[QueueKey, WaitingQueue]] = defaultdict(dict)
        """namespace → what is waited for → who waits"""
        self._standing: dict[str, tuple[Key, QueueKey]] = {}
        """uid → the job and the queue it stands in"""
        self._waiting: Counter[str] = Counter()
        """pool → how many wait for a worker of it"""
        self._active: defaultdict[str, set[str]] = defaultdict(set)
        """namespace → uids of its active jobs"""
        self._arrivals = 0
        self._total = 0
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        """namespace → which turn was its last: the older, the sooner it has another"""

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, job: GenerationJob) -> None:
        """Joining twice keeps the first place."""
        uid, queue = job.metadata.uid, _queue_key(job)
        if queue is None or uid in self._standing:
            return
        self._queues[job.metadata.namespace].setdefault(queue, WaitingQueue()).join(job, self._arrivals)
        self._arrivals += 1
        self._standing[uid] = (job.key, queue)
        if not queue.own_pod:
            self._waiting[queue.pool] += 1

    def leave(self, uid: str) -> None:
        if uid not in self._standing:
            return
        (namespace, _), queue = self._standing.pop(uid)
        queues = self._queues[namespace]
        queues[queue].leave(uid)
        if not len(queues[queue]):
            del queues[queue]
        if not queues:
            del self._queues[namespace]
        if not queue.own_pod:
            self._waiting[queue.pool] -= 1
            if not self._waiting[queue.pool]:
                del self._waiting[queue.pool]

    def begin(self, namespace: str, uid: str) -> None:
        """The job is active: it counts against the limits."""
        if uid not in self._active[namespace]:
            self._active[namespace].add(uid)
            self._total += 1
            self._turns += 1
            self._last_turn[namespace] = self._turns

    def end(self, namespace: str, uid: str) -> None:
        if uid in self._active.get(namespace, ()):
            self._active[namespace].discard(uid)
            self._total -= 1
            if not self._active[namespace]:
                del self._active[namespace]

    # ── looking up ────────────────────────────────────────────────────────────────────────────────────────────────

    def waiting(self, pool: str) -> int:
        """Jobs that wait for a worker of the pool."""
        return self._waiting[pool]

    def active(self, namespace: str) -> int:
        return len(self._active.get(namespace, ()))

    def position(self, job: GenerationJob) -> int | None:
        """Among the waiting of its namespace and pool; other namespaces take turns with it. None: does not wait."""
        uid = job.metadata.uid
        if uid not in self._standing:
            return None
        (namespace, _), queue = self._standing[uid]
        return self._queues[namespace][queue].position(uid)

    def is_full(self, namespace: str) -> bool:
        return self.active(namespace) >= self.limits.per_namespace

    def waiting_for_worker(self, pool: str) -> Iterator[Key]:
        for queues in self._queues.values():
            if (queue := queues.get(QueueKey(pool, own_pod=False))) is not None:
                yield from (self._standing[uid][0] for uid in queue.uids())

    def fronts(self, most: int) -> Iterator[Key]:
        """The first jobs of every queue."""
        for queues in self._queues.values():
            for queue in queues.values():
                yield from (self._standing[uid][0] for uid in queue.uids(most))

    def next(self, supply: Callable[[str], Supply]) -> Turn | None:
        """The namespace with the fewest active jobs goes first, of those whose first job can go at all; of two, the one
        that has not had a turn for longer; and only then priority and age.
        """
        best: tuple[tuple[int, int, Place], Turn] | None = None
        if self._total >= self.limits.total:
            return None
        for namespace, queues in self._queues.items():
            active = self.active(namespace)
            if active >= self.limits.per_namespace:
                continue
            for queue, waiting in queues.items():
                if (head := waiting.head) is None:
                    continue
                rank = (active, self._last_turn.get(namespace, 0), head)
                if best is not None and rank >= best[0]:
                    continue
                placement = Placement.POD if queue.own_pod else self._place(queue.pool, supply(queue.pool))
                if placement is not None:
                    key, _ = self._standing[head.uid]
                    best = (rank, Turn(key, head.uid, queue.pool, placement))
        return None if best is None else best[1]

    def _place(self, pool: str, supply: Supply) -> Placement | None:
        """None: wait, a worker is coming for every job in this queue."""
        if supply.free > 0:
            return Placement.WORKER
        return None if self._waiting[pool] <= supply.coming else Placement.POD


def _queue_key(job: GenerationJob) -> QueueKey | None:
    plan = job.status.plan
    return None if plan is None else QueueKey(plan.pool, own_pod=job.spec.queue is not None)
