"""What time brings without a message: workers fall silent, orders get lost, finished jobs expire."""

import asyncio
import time

from auteur_contracts.orders import WorkerState
from auteur_contracts.resources import GenerationJob
from auteur_control.accounting import Accounting
from auteur_control.carriers import Carriers
from auteur_control.dependents import Dependents
from auteur_control.errors import ResourceError
from auteur_control.orders import Orders
from auteur_control.resources import JobResources, Key
from auteur_control.work_queue import WorkQueue
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_lifecycle.fleet import Fleet

log = get_logger()
_TICK = 0.25
_ORDER_REPEAT = 15.0
"""Seconds after which an unclaimed order is put again: the queue may have lost it. Claims make that harmless."""
_SUSPENDED = 2.0
"""A tick this late means that this process slept, not that the workers did."""
_EXPIRY_EVERY = 5.0
_EXPIRED_AT_ONCE = 500


class Housekeeping:
    def __init__(
        self, bus: Bus, fleet: Fleet, accounting: Accounting, carriers: Carriers, jobs: JobResources, orders: Orders
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._accounting = accounting
        self._carriers = carriers
        self._jobs = jobs
        self._orders = orders

    async def watch_workers(self, queue: WorkQueue[Key]) -> None:
        """Until cancelled."""
        last = time.monotonic()
        self._fleet.listen_from(last)
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if now - last > _SUSPENDED or not self._bus.connected:
                self._fleet.listen_from(now)
            self._fleet.listen_from(self._bus.connected_since)
            last = now
            self._lose_silent_workers(queue, now)
            self._repeat_orders(now)

    def _lose_silent_workers(self, queue: WorkQueue[Key], now: float) -> None:
        at_work = set()
        for key in self._accounting.running():
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob) and self._fleet.silent(job.status.worker, now):
                at_work.add(job.status.worker)
                queue.add(key)
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

    async def expire(self, dependents: Dependents, clock: Clock) -> None:
        """Until cancelled. Apart from the ticks: hundreds of deletions may take longer than a worker may be silent."""
        while True:
            await asyncio.sleep(_EXPIRY_EVERY)
            try:
                for found in self._jobs.expired(clock(), _EXPIRED_AT_ONCE):
                    if not dependents.is_needed(found.key):
                        await self._jobs.delete(found.key, found.uid)
            except ResourceError as error:
                log.warning("finished job not deleted", error=str(error))
