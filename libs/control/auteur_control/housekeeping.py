"""What time brings without a message: workers fall silent, orders get lost, finished jobs expire."""

import time
from dataclasses import dataclass

from auteur_contracts.orders import WorkerState
from auteur_contracts.resources import GenerationJob
from auteur_control.accounting import Accounting
from auteur_control.carriers import Carriers
from auteur_control.dependents import Dependents
from auteur_control.orders import Orders
from auteur_control.resources import JobResources, Key
from auteur_control.work_queue import WorkQueue
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_lifecycle.fleet import Fleet

log = get_logger()
TICK_EVERY = 0.25
_ORDER_REPEAT = 15.0
"""Seconds after which an unclaimed order is put again: the queue may have lost it. Claims make that harmless."""
_SUSPENDED = 2.0
"""A tick this late means that this process slept, not that the workers did."""
EXPIRY_EVERY = 5.0
_EXPIRED_AT_ONCE = 500


@dataclass(frozen=True)
class Watched:
    """What housekeeping looks at."""

    jobs: JobResources
    carriers: Carriers
    fleet: Fleet
    accounting: Accounting
    dependents: Dependents


class Housekeeping:
    """`clock` tells whose time is over; how long a worker was silent, the monotonic clock tells."""

    def __init__(self, bus: Bus, clock: Clock, watched: Watched, orders: Orders, queue: WorkQueue[Key]) -> None:
        self._bus = bus
        self._clock = clock
        self._jobs = watched.jobs
        self._carriers = watched.carriers
        self._fleet = watched.fleet
        self._accounting = watched.accounting
        self._dependents = watched.dependents
        self._orders = orders
        self._queue = queue
        self._last = time.monotonic()

    async def tick(self) -> None:
        now = time.monotonic()
        if now - self._last > _SUSPENDED or not self._bus.connected:
            self._fleet.listen_from(now)
        self._fleet.listen_from(self._bus.connected_since)
        self._last = now
        self._lose_silent_workers(now)
        self._repeat_orders(now)

    def _lose_silent_workers(self, now: float) -> None:
        at_work = set()
        for key in self._accounting.running():
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob) and self._fleet.silent(job.status.worker, now):
                at_work.add(job.status.worker)
                self._queue.add(key)
        gone = self._fleet.forget_lost(now)
        for worker in gone:
            if worker in at_work:
                log.warning("worker lost", worker=worker)
            else:  # it did what it was there for, or its pool became smaller
                log.info("worker left", worker=worker)
        if gone:
            self._carriers.on_lost(gone)

    def _repeat_orders(self, now: float) -> None:
        for uid in self._accounting.unclaimed(now - _ORDER_REPEAT):
            key = self._jobs.key_of(uid)
            job = self._jobs.live(key) if key else None
            plan = job.status.plan if isinstance(job, GenerationJob) else None
            if isinstance(job, GenerationJob) and plan and self._fleet.count(plan.pool, WorkerState.READY, now):
                self._accounting.ordered_again(uid)
                self._orders.put(job, repeat=int(now))

    async def expire(self) -> None:
        """Apart from the ticks: hundreds of deletions may take longer than a worker may be silent."""
        for found in self._jobs.expired(self._clock(), _EXPIRED_AT_ONCE):
            if not self._dependents.is_needed(found.key):
                await self._jobs.delete(found.key, found.uid)
