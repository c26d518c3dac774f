"""Whose turn it is: fair between namespaces, by priority and age within one, a warm worker where there is one, else a
pod of its own. Pure: counts are arguments, and nothing is made or written here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from auteur_contracts.resources import GenerationJob
from auteur_lifecycle.line import Line, Place

Key = tuple[str, str]
"""Namespace and name."""


class Carrier(Enum):
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
    """Workers that the pool may still get, up to its maximum: who waits for one of these waits in line."""


NO_POOL = Supply(0, 0)


@dataclass(frozen=True)
class Turn:
    key: Key
    uid: str
    pool: str
    carrier: Carrier


class Turns:
    """Jobs that wait for nothing but a worker. `limit`: jobs of one namespace that may be under way at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: defaultdict[str, dict[str, Line]] = defaultdict(dict)
        """namespace → pool → line"""
        self._keys: dict[str, tuple[Key, str, bool]] = {}
        """uid → key, pool, has to have a pod of its own"""
        self._waiting: defaultdict[str, int] = defaultdict(int)
        """pool → how many stand in its lines"""
        self._active: defaultdict[str, set[str]] = defaultdict(set)
        """namespace → uids of jobs that are under way"""

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, job: GenerationJob) -> None:
        """Joining twice keeps the first place."""
        plan = job.status.plan
        uid = job.metadata.uid
        if plan is None or uid in self._keys:
            return
        self._lines[job.metadata.namespace].setdefault(plan.pool, Line()).join(job)
        self._keys[uid] = (job.key, plan.pool, job.spec.queue is not None)
        self._waiting[plan.pool] += 1

    def leave(self, uid: str) -> None:
        key, pool, _ = self._keys.pop(uid, (("", ""), "", False))
        if not pool:
            return
        lines = self._lines[key[0]]
        lines[pool].leave(uid)
        self._waiting[pool] -= 1
        if not len(lines[pool]):
            del lines[pool]
        if not lines:
            del self._lines[key[0]]
        if not self._waiting[pool]:
            del self._waiting[pool]

    def begin(self, namespace: str, uid: str) -> None:
        """It is under way: it counts against its namespace."""
        self._active[namespace].add(uid)

    def end(self, namespace: str, uid: str) -> None:
        self._active[namespace].discard(uid)
        if not self._active[namespace]:
            del self._active[namespace]

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def waiting(self, pool: str) -> int:
        return self._waiting.get(pool, 0)

    def active(self, namespace: str) -> int:
        return len(self._active.get(namespace, ()))

    def position(self, job: GenerationJob) -> int | None:
        """Among the waiting of its namespace and pool; other namespaces take turns with it. None: does not wait."""
        plan = job.status.plan
        line = self._lines.get(job.metadata.namespace, {}).get(plan.pool) if plan else None
        return line.position(job.metadata.uid) if line else None

    def is_full(self, namespace: str) -> bool:
        return self.active(namespace) >= self._limit

    def in_line(self, pool: str) -> Iterator[Key]:
        for lines in self._lines.values():
            if pool in lines:
                yield from (self._keys[uid][0] for uid in lines[pool].uids())

    def next(self, supply: Callable[[str], Supply]) -> Turn | None:
        """The namespace with the fewest jobs under way goes first, of those whose first job can go at all."""
        best: tuple[int, Place, Turn] | None = None
        for namespace, lines in self._lines.items():
            active = self.active(namespace)
            if active >= self._limit or (best is not None and active > best[0]):
                continue
            for pool, line in lines.items():
                head = line.head
                if head is None or (best is not None and (active, head) >= best[:2]):
                    continue
                key, _, alone = self._keys[head.uid]
                carrier = Carrier.POD if alone else self._carrier(pool, supply(pool))
                if carrier is not None:
                    best = (active, head, Turn(key, head.uid, pool, carrier))
        return None if best is None else best[2]

    def _carrier(self, pool: str, supply: Supply) -> Carrier | None:
        """None: wait, a worker is coming for everybody who stands here."""
        if supply.free > 0:
            return Carrier.WORKER
        return None if self._waiting[pool] <= supply.coming else Carrier.POD
