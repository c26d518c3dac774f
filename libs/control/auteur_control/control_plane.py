"""The control plane as a whole: its parts put together, and news carried between them."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from auteur_contracts.errors import Unavailable
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Phase
from auteur_control.accounting import Accounting
from auteur_control.announcements import Announcements
from auteur_control.announcer import Announcer
from auteur_control.carriers import Carriers
from auteur_control.catalogue import CATALOGUE_EVERY, CataloguePublisher
from auteur_control.claims import Claims
from auteur_control.commands import Commands
from auteur_control.dependents import Dependents
from auteur_control.errors import ResourceError
from auteur_control.fair_queue import Limits
from auteur_control.grants import Granter
from auteur_control.housekeeping import EXPIRY_EVERY, TICK_EVERY, Housekeeping, Watched
from auteur_control.loops import LATER, Background, every
from auteur_control.messaging import Messaging
from auteur_control.orders import Orders
from auteur_control.progress import PROGRESS_EVERY, ProgressWriter
from auteur_control.queries import Queries
from auteur_control.reconcile import JobReconciler
from auteur_control.reports import Reports
from auteur_control.resources import JobResources, JobWatcher, Key, Malformed
from auteur_control.spans import record_transition
from auteur_control.work_queue import WorkQueue
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle import status as life
from auteur_lifecycle.estimate import Estimates
from auteur_lifecycle.fleet import Fleet

log = get_logger()
_TOLD_AFTER = 3
"""Faults of ours in a row after which a job says that it cannot be reconciled."""
_SAID_AGAIN = 5000
"""Finished jobs whose end is announced once more at the start; further ones a gateway asks for."""
_TOLD_TO_WAIT = 100
"""Jobs in a queue that are told why their runner is not ready; the others learn when their turn comes."""
Reconcile = Callable[[Key], Awaitable[None]]


@dataclass(frozen=True)
class ControlSettings:
    source: str
    """Who says the facts: `engine` or `operator`."""
    secret: bytes
    """Signs the tokens that reports must carry. The same over restarts, or running jobs lose theirs."""
    max_output_bytes: int
    """Largest single file a job may store."""
    limits: Limits
    reconcilers: int = 24
    """Jobs that are reconciled concurrently."""


@dataclass(frozen=True)
class Outside:
    """What the control plane uses besides its two ports."""

    bus: Bus
    store: Store
    clock: Clock


class ControlPlane(JobWatcher):
    """`queue`: jobs to reconcile; carriers add to it, too."""

    def __init__(
        self,
        outside: Outside,
        jobs: JobResources,
        carriers: Carriers,
        fleet: Fleet,
        queue: WorkQueue[Key],
        settings: ControlSettings,
    ) -> None:
        bus, store, clock = outside.bus, outside.store, outside.clock
        self._outside = outside
        self._jobs = jobs
        self._carriers = carriers
        self._settings = settings
        self._fleet = fleet
        self._dependents = Dependents()
        self._queue = queue
        self.accounting = Accounting(settings.limits, fleet, carriers)
        self._announcer = Announcer(bus)
        self._announcements = Announcements(self._announcer, settings.source, clock)
        self._orders = Orders(bus, boot=uuid.uuid4().hex[:8])
        self.reconciler = JobReconciler(
            jobs, carriers, self.accounting, fleet, self._queue, bucket=store.bucket, clock=clock
        )
        granter, estimates = Granter(store, settings.secret, settings.max_output_bytes), Estimates()
        self._commands = Commands(jobs, carriers, self.reconciler, store, self._announcements, clock)
        self._progress = ProgressWriter(jobs, self.accounting.queue, estimates, fleet)
        self._messaging = Messaging(
            bus,
            self._commands,
            Claims(jobs, granter, fleet, clock),
            Reports(jobs, granter, estimates, clock),
            self._progress,
            Queries(jobs, self._progress),
            self._on_heartbeat,
        )
        watched = Watched(jobs, carriers, fleet, self.accounting, self._dependents)
        self._housekeeping = Housekeeping(bus, clock, watched, self._orders, queue)
        self._catalogues = CataloguePublisher(bus, carriers)
        self._background = Background()

    async def run(
        self,
        *,
        ready: Callable[[], None] = lambda: None,
        timed: Callable[[Reconcile], Reconcile] = lambda reconcile: reconcile,
    ) -> None:
        """Until cancelled. `ready` is called when workers and services are heard; `timed` measures each reconcile."""
        self._jobs.watch(self)
        self._fleet.listen_from(time.monotonic())
        self._take_over()
        await self._messaging.subscribe()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announcer.run())
            group.create_task(self._messaging.run())
            group.create_task(every(PROGRESS_EVERY, self._progress.flush))
            group.create_task(every(CATALOGUE_EVERY, self._catalogues.publish))
            group.create_task(every(TICK_EVERY, self._housekeeping.tick))
            group.create_task(every(EXPIRY_EVERY, self._housekeeping.expire))
            group.create_task(
                self._queue.run(self._settings.reconcilers, timed(self.reconciler.reconcile), self._on_failure)
            )
            ready()

    def _take_over(self) -> None:
        """Goes on where the life before ended: every job is reconciled, and facts that may not have been said are."""
        for key in self._jobs.live_keys():
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob):
                self._dependents.take(job)
                if self.accounting.account(job):
                    self._orders.put(job)
            self._queue.add(key)
        for job in self._jobs.unreleased(_SAID_AGAIN):
            self._announcements.changed(job.status.model_copy(update={"conditions": ()}), job)

    # ── news of jobs ──────────────────────────────────────────────────────────────────────────────────────────────

    def on_seen(self, key: Key) -> None:
        job = self._jobs.live(key)
        if isinstance(job, GenerationJob):
            self._dependents.take(job)
        self._queue.add(key)
        for waiting in self._dependents.of(key):
            self._queue.add(waiting)

    def on_written(self, before: GenerationJobStatus, job: GenerationJob) -> None:
        key, status = job.key, job.status
        self._dependents.take(job)
        ordered = self.accounting.account(job)
        if status.finished:
            self._queue.forget(key)
            for waiting in self._dependents.of(key):
                self._queue.add(waiting)
        else:
            self.reconciler.set_timer(job)
            if before.dispatched and not status.dispatched:  # by a report, say: what comes next is looked for at once
                self._queue.add(key)
        if ordered and (not before.dispatched or before.attempt < status.attempt):
            self._orders.put(job)
        if before.running and not status.running and status.view.phase is not Phase.SUCCEEDED:
            self._orders.stop(job.metadata.uid, before.attempt)
        self._announcements.changed(before, job)
        record_transition(before, job)
        self._carriers.on_demand(job)
        self.reconciler.give_turns()

    def on_deleted(self, last: GenerationJob, version: int) -> None:
        key, status = last.key, last.status
        self._dependents.drop(key)
        self.reconciler.forget(key, last.metadata.uid)
        for waiting in self._dependents.of(key):
            self._queue.add(waiting)
        if status.finished:
            return
        if status.running:
            self._orders.stop(last.metadata.uid, status.attempt)
        self._announcements.deleted(last, self._commands.who_deleted(last.metadata.uid), version)

    # ── news of workers ───────────────────────────────────────────────────────────────────────────────────────────

    async def _on_heartbeat(self, beat: Heartbeat) -> None:
        self._fleet.hear(beat, time.monotonic())
        self._carriers.on_heartbeat(beat)
        if beat.state is WorkerState.READY:
            self.reconciler.give_turns()
        elif beat.uid:
            key = self._jobs.key_of(beat.uid)
            job = self._jobs.live(key) if key else None
            if isinstance(job, Malformed):
                return  # it may run: nobody can tell
            if job is None or not life.is_current(job, beat.attempt):
                # Cancelled, suspended or superseded: said again at each heartbeat until it is seen.
                await self._orders.say_stop(beat.uid, beat.attempt)

    def on_pool_changed(self, pool: str) -> None:
        """Jobs that wait for a worker of the pool are reconciled, so that their statuses say why they wait."""
        waiting = self.accounting.queue.waiting_for_worker(pool)
        for key, _ in zip(waiting, range(_TOLD_TO_WAIT), strict=False):
            self._queue.add(key)
        self.reconciler.give_turns()

    # ── faults of ours ────────────────────────────────────────────────────────────────────────────────────────────

    def _on_failure(self, key: Key, error: Exception, failures: int) -> None:
        """A fault neither ends the process nor goes untold: the log has it each time, the job's status if it lasts."""
        why = str(error) or repr(error)
        if isinstance(error, LATER):
            log.warning("reconcile failed", job=key[1], namespace=key[0], error=why, failures=failures)
            return
        log.error("reconcile failed", job=key[1], namespace=key[0], error=why, failures=failures, exc_info=error)
        if failures == _TOLD_AFTER:
            self._background.spawn(self._tell_stalled(key, repr(error)))

    async def _tell_stalled(self, key: Key, why: str) -> None:
        try:
            async with self._jobs.hold(key):
                await self._jobs.change(key, lambda job: life.stall(job, why, self._outside.clock()))
        except (ResourceError, Unavailable) as error:
            log.warning("stalled job not told", job=key[1], error=str(error))
