"""One replica of the operator: its watches always fill the caches; while it leads it also decides and writes."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable

from auteur_contracts.errors import Unavailable
from auteur_control.control_plane import ControlPlane, ControlSettings, Outside
from auteur_control.fair_queue import Limits
from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle.fleet import Fleet
from auteur_operator.attempts import Attempts
from auteur_operator.caches import Caches, Queues
from auteur_operator.carriers import PodCarriers
from auteur_operator.cluster import Cluster
from auteur_operator.desired import Surroundings
from auteur_operator.health import Health
from auteur_operator.intake import Intake
from auteur_operator.job_cache import JobCache
from auteur_operator.lookups import Lookups
from auteur_operator.metrics import Metrics
from auteur_operator.object_cache import ObjectCache
from auteur_operator.prerequisites import Prerequisites
from auteur_operator.pressure import Pressure
from auteur_operator.resources import ClusterJobs
from auteur_operator.resync import Resync
from auteur_operator.runners import PoolUse, RunnerReconciler
from auteur_operator.settings import OperatorSettings, Settings

log = get_logger()
LEASE = "auteur-operator"
_MEASURE_EVERY = 1.0
_RUNNERS_AT_ONCE = 2
Reconcile = Callable[[Key], Awaitable[None]]


def identity_of(wanted: str) -> str:
    return wanted or f"{socket.gethostname()}-{os.getpid()}"


class Replica:
    """`intake` takes what the watches show from the beginning; `lead` is called once, when the Lease is ours."""

    def __init__(
        self, settings: Settings, cluster: Cluster, store: Store, health: Health, metrics: Metrics, clock: Clock
    ) -> None:
        wanted = settings.operator
        self._settings = settings
        self._cluster = cluster
        self._store = store
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._caches = Caches(JobCache(wanted.archived_namespaces), ObjectCache(home=wanted.namespace), Fleet())
        self._jobs = ClusterJobs(cluster, self._caches.jobs)
        self._prerequisites = Prerequisites(cluster, self._caches.objects, wanted, _surroundings(settings))
        self.intake = Intake(self._caches, self._jobs, self._prerequisites, wanted.places, health, metrics)
        self._resync = Resync(cluster, self._caches, self.intake, wanted.places)

    async def lead(self) -> None:
        """Until cancelled."""
        self._health.waits_for = "NATS"
        async with contextlib.AsyncExitStack() as stack:
            bus = await self._reach_nats(stack)
            await bus.ensure_streams()
            self._health.waits_for = "the objects of the cluster"
            await self._resync.until_it_works()
            queues = self.intake.queues = Queues(WorkQueue(), WorkQueue())
            control = self._control_plane(Outside(bus, self._store, self._clock), queues)
            pressure = Pressure(self._caches.objects, queues.runners, self._clock)
            runners = self._runner_reconciler(control, queues, pressure)
            self._take_over(queues)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._store.bring_bucket())
                group.create_task(control.run(ready=self._say_leading, timed=self._timed("jobs")))
                group.create_task(
                    queues.runners.run(_RUNNERS_AT_ONCE, self._timed("runners")(runners.reconcile), _runner_failed)
                )
                group.create_task(self._measure(queues, pressure))
                group.create_task(self._resync.run(self._settings.operator.resync))

    async def _reach_nats(self, stack: contextlib.AsyncExitStack) -> Bus:
        """NATS may come later than we do."""
        while True:
            try:
                connecting = Bus.connect(self._settings.nats, name="operator", owns_streams=True)
                return await stack.enter_async_context(connecting)
            except Unavailable as error:
                log.warning("waiting for NATS", error=str(error))
                await asyncio.sleep(1)

    def _control_plane(self, outside: Outside, queues: Queues) -> ControlPlane:
        objects, prerequisites = self._caches.objects, self._prerequisites
        lookups = Lookups(self._cluster, self._store, objects, prerequisites)
        attempts = Attempts(self._cluster, objects, lookups, prerequisites, queues.jobs)
        carriers = PodCarriers(self._cluster, self._caches.jobs, objects, prerequisites, attempts, queues.runners)
        wanted = _control_settings(self._settings.operator)
        return ControlPlane(outside, self._jobs, carriers, self._caches.fleet, queues.jobs, wanted)

    def _runner_reconciler(self, control: ControlPlane, queues: Queues, pressure: Pressure) -> RunnerReconciler:
        use = PoolUse(
            waiting=control.accounting.waiting,
            busy=control.accounting.busy,
            under_pressure=lambda: pressure.high,
            on_change=control.on_pool_changed,
        )
        return RunnerReconciler(self._cluster, self._caches, self._prerequisites, use, queues.runners, self._clock)

    def _take_over(self, queues: Queues) -> None:
        """Takes up what the leader before left besides unfinished jobs: pods of finished ones, and every runner."""
        for pod in self._caches.objects.pods.values():
            key = None if pod.ended else self._caches.job_of(pod)
            if key is not None:
                queues.jobs.add(key)
        for runner in tuple(self._caches.objects.runners):
            queues.runners.add(runner)

    def _say_leading(self) -> None:
        self._metrics.leading.set(1)
        self._health.waits_for = ""
        jobs = self._caches.jobs
        log.info("operator leads", unfinished=len(jobs), finished=jobs.finished_count)

    def _timed(self, queue: str) -> Callable[[Reconcile], Reconcile]:
        duration, failures = self._metrics.reconcile.labels(queue), self._metrics.failures.labels(queue)

        def wrap(reconcile: Reconcile) -> Reconcile:
            async def timed(key: Key) -> None:
                with failures.count_exceptions(), duration.time():
                    await reconcile(key)

            return timed

        return wrap

    async def _measure(self, queues: Queues, pressure: Pressure) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_MEASURE_EVERY)
            self._metrics.measure(queues, self._caches)
            pressure.measure()


def _surroundings(settings: Settings) -> Surroundings:
    wanted = settings.operator
    return Surroundings(
        nats_url=wanted.worker_nats_url or settings.nats.url,
        image_pull_secrets=wanted.image_pull_secrets,
        keep_finished_jobs=wanted.keep_finished_jobs,
        scratch_limit=wanted.scratch_limit,
        telemetry_endpoint=settings.telemetry.endpoint,
    )


def _control_settings(wanted: OperatorSettings) -> ControlSettings:
    return ControlSettings(
        source="operator",
        secret=wanted.secret.get_secret_value().encode(),
        max_output_bytes=wanted.max_output_bytes,
        limits=Limits(per_namespace=wanted.max_active_per_namespace),
        reconcilers=wanted.reconcilers,
    )


def _runner_failed(key: Key, error: Exception, failures: int) -> None:
    log.warning("reconcile failed", runner=key[1], namespace=key[0], error=str(error) or repr(error), failures=failures)
