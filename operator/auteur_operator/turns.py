"""Whose turn it is: fair between namespaces, by priority and age within one, a warm worker where there is one, else a
pod of its own. Pure: counts are arguments, and nothing is made or written here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from auteur_contracts.resources import GenerationJob
from auteur_lifecycle.waiting_queue import Place, WaitingQueue

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
class Want:
    """What a job waits for: a worker of a pool, or (`alone`: its queue decides when) a pod and nothing else. Those of
    two kinds never stand in each other's way, so they stand in two lines.
    """

    pool: str
    alone: bool


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
        self._lines: defaultdict[str, dict[Want, WaitingQueue]] = defaultdict(dict)
        """namespace → what is waited for → line"""
        self._standing: dict[str, tuple[Key, Want]] = {}
        """uid → who stands in which line"""
        self._waiting: Counter[str] = Counter()
        """pool → how many wait for a worker of it"""
        self._active: defaultdict[str, set[str]] = defaultdict(set)
        """namespace → uids of jobs that are under way"""
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        """namespace → which turn was its last: the older, the sooner it has another"""

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, job: GenerationJob) -> None:
        """Joining twice keeps the first place."""
        uid, want = job.metadata.uid, _want(job)
        if want is None or uid in self._standing:
            return
        self._lines[job.metadata.namespace].setdefault(want, WaitingQueue()).join(job)
        self._standing[uid] = (job.key, want)
        if not want.alone:
            self._waiting[want.pool] += 1

    def leave(self, uid: str) -> None:
        if uid not in self._standing:
            return
        (namespace, _), want = self._standing.pop(uid)
        lines = self._lines[namespace]
        lines[want].leave(uid)
        if not len(lines[want]):
            del lines[want]
        if not lines:
            del self._lines[namespace]
        if not want.alone:
            self._waiting[want.pool] -= 1
            if not self._waiting[want.pool]:
                del self._waiting[want.pool]

    def begin(self, namespace: str, uid: str) -> None:
        """It is under way: it counts against its namespace."""
        if uid not in self._active[namespace]:
            self._active[namespace].add(uid)
            self._turns += 1
            self._last_turn[namespace] = self._turns

    def end(self, namespace: str, uid: str) -> None:
        self._active[namespace].discard(uid)
        if not self._active[namespace]:
            del self._active[namespace]

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def waiting(self, pool: str) -> int:
        """For a worker of it."""
        return self._waiting[pool]

    def active(self, namespace: str) -> int:
        return len(self._active.get(namespace, ()))

    def position(self, job: GenerationJob) -> int | None:
        """Among the waiting of its namespace and pool; other namespaces take turns with it. None: does not wait."""
        uid = job.metadata.uid
        if uid not in self._standing:
            return None
        (namespace, _), want = self._standing[uid]
        return self._lines[namespace][want].position(uid)

    def is_full(self, namespace: str) -> bool:
        return self.active(namespace) >= self._limit

    def in_line(self, pool: str) -> Iterator[Key]:
        """Those who wait for a worker of it."""
        for lines in self._lines.values():
            if (line := lines.get(Want(pool, alone=False))) is not None:
                yield from (self._standing[uid][0] for uid in line.uids())

    def fronts(self, most: int) -> Iterator[Key]:
        """The first of every line."""
        for lines in self._lines.values():
            for line in lines.values():
                yield from (self._standing[uid][0] for uid in line.uids(most))

    def next(self, supply: Callable[[str], Supply]) -> Turn | None:
        """The namespace with the fewest jobs under way goes first, of those whose first job can go at all; of two, the
        one that has not had a turn for longer; and only then priority and age.
        """
        best: tuple[tuple[int, int, Place], Turn] | None = None
        for namespace, lines in self._lines.items():
            active = self.active(namespace)
            if active >= self._limit:
                continue
            for want, line in lines.items():
                if (head := line.head) is None:
                    continue
                rank = (active, self._last_turn.get(namespace, 0), head)
                if best is not None and rank >= best[0]:
                    continue
                carrier = Carrier.POD if want.alone else self._carrier(want.pool, supply(want.pool))
                if carrier is not None:
                    key, _ = self._standing[head.uid]
                    best = (rank, Turn(key, head.uid, want.pool, carrier))
        return None if best is None else best[1]

    def _carrier(self, pool: str, supply: Supply) -> Carrier | None:
        """None: wait, a worker is coming for everybody who stands here."""
        if supply.free > 0:
            return Carrier.WORKER
        return None if self._waiting[pool] <= supply.coming else Carrier.POD


def _want(job: GenerationJob) -> Want | None:
    plan = job.status.plan
    return None if plan is None else Want(plan.pool, alone=job.spec.queue is not None)
