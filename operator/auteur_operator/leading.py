"""One replica of the operator: it always watches; while it leads it also decides and writes. Here the parts are put
together, and news carried between them.
"""

import asyncio
import contextlib
import functools
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from auteur_contracts import names
from auteur_contracts.errors import Unavailable
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Phase
from auteur_kit.announcer import Announcer
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.grants import Granter
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle.fleet import Fleet
from auteur_operator import diagnosis
from auteur_operator.cluster import Cluster, ClusterError, path_of
from auteur_operator.conversation import Conversation
from auteur_operator.evidence import Witness
from auteur_operator.handlers import MANAGED
from auteur_operator.health import Health
from auteur_operator.jobs import Jobs, read
from auteur_operator.metrics import Metrics
from auteur_operator.observed import AS_USUAL
from auteur_operator.queue import WorkQueue
from auteur_operator.reconcile import JobReconciler
from auteur_operator.reflector import reflect
from auteur_operator.runners import RunnerReconciler, Waiting
from auteur_operator.settings import Settings
from auteur_operator.statuses import Statuses, job_path
from auteur_operator.supplies import Supplies
from auteur_operator.turns import Key, Turns
from auteur_operator.underway import UnderWay
from auteur_operator.world import World

log = get_logger()
LEASE = "auteur-operator"
_TICK = 0.25
_ORDER_REPEAT = 15.0
"""Seconds after which an unclaimed order is put again: the queue may have lost it. Claims make that harmless."""
_EXPIRY_EVERY = 5.0
_EXPIRED_AT_ONCE = 200
_RUN_AGAIN_GAP = 2.0
"""A tick this late means that we slept, not that the workers did."""
_SQUEEZED_AFTER = 10.0
_SAID_AGAIN = 5000
"""Finished jobs whose end is announced once more by a new leader; further ones a gateway asks for."""


def identity_of(wanted: str) -> str:
    return wanted or f"{socket.gethostname()}-{os.getpid()}"


class Replica:
    """Takes what the watches show from the beginning; `lead` is called once, when the Lease is ours."""

    def __init__(
        self, *, settings: Settings, cluster: Cluster, health: Health, metrics: Metrics, store: Store, clock: Clock
    ) -> None:
        wanted = settings.operator
        self._settings = settings
        self._cluster = cluster
        self._health = health
        self._metrics = metrics
        self._store = store
        self._clock = clock
        self._leads = False
        self._queue: WorkQueue[Key] = WorkQueue()
        self._runner_queue: WorkQueue[Key] = WorkQueue()
        self._jobs = Jobs(wanted.archived_namespaces)
        self._world = World(home=wanted.namespace)
        self._fleet = Fleet()
        self._states: dict[str, WorkerState] = {}
        """worker → what it said last of itself"""
        self._squeezed = False
        """Whether the pod of some attempt has found no room for a while."""
        self._turns = Turns(wanted.max_active_per_namespace)
        where_workers_find_nats = wanted.worker_nats_url or settings.nats.url
        self._supplies = Supplies(cluster, self._world, self._fleet, wanted, nats_url=where_workers_find_nats)
        self._announcer: Announcer | None = None
        self._conversation: Conversation | None = None
        self._statuses = Statuses(cluster, self._jobs, clock, self._announce, self._on_written)
        self._under_way = UnderWay(self._turns, self._fleet, self._world, self._supplies)
        self._reconciler = JobReconciler(
            cluster=cluster,
            jobs=self._jobs,
            world=self._world,
            under_way=self._under_way,
            witness=Witness(cluster, store, self._world, self._supplies),
            fleet=self._fleet,
            statuses=self._statuses,
            bucket=store.bucket,
            queue=self._queue,
            supplies=self._supplies,
            clock=clock,
            limit=wanted.max_active_per_namespace,
            order=self._order,
        )
        self._pools = RunnerReconciler(
            cluster=cluster,
            world=self._world,
            fleet=self._fleet,
            supplies=self._supplies,
            demand=Waiting(self._under_way.waiting, self._under_way.busy, lambda: self._squeezed),
            queue=self._runner_queue,
            clock=clock,
            on_ready=self._on_runner_ready,
        )

    # ── what the watches show ─────────────────────────────────────────────────────────────────────────────────────

    def on_job(self, raw: dict[str, Any], *, deleted: bool) -> None:
        meta = raw["metadata"]
        key = (meta["namespace"], meta["name"])
        self._metrics.events.labels("generationjobs").inc()
        if deleted:
            self._forget_job(key, meta["uid"], int(meta["resourceVersion"]))
        elif int(meta["resourceVersion"]) > self._jobs.version(key):
            before = self._jobs.uid(key)
            if before not in ("", meta["uid"]):  # deleted and made anew while nobody watched
                self._forget_job(key, before, int(meta["resourceVersion"]))
            if self._jobs.take(read(raw)):
                self._mark(key)
                for waiting in self._jobs.waiting_for(key):
                    self._mark(waiting)

    def _forget_job(self, key: Key, uid: str, version: int) -> None:
        last = self._jobs.drop(key, uid)
        if not self._leads:
            return
        self._reconciler.forget(key, uid)
        if last is not None and not last.status.finished and self._conversation is not None:
            self._conversation.say_deleted(last, version)

    def on_runner(self, raw: dict[str, Any], *, deleted: bool) -> None:
        meta = raw["metadata"]
        key = (meta["namespace"], meta["name"])
        self._metrics.events.labels("functionrunners").inc()
        if deleted:
            self._world.drop_runner(key)
        elif not self._world.take_runner(raw):
            return
        self._mark_runner(key)
        for job in self._jobs.live_keys():  # a plan may be possible now, or not any more
            if key[0] in (job[0], self._world.home):
                self._mark(job)

    def on_pod(self, raw: dict[str, Any], *, deleted: bool) -> None:
        meta = raw["metadata"]
        self._metrics.events.labels("pods").inc()
        before = self._world.pods.get((meta["namespace"], meta["name"]))
        pod = self._world.drop_pod(meta["namespace"], meta["name"]) if deleted else self._world.take_pod(raw)
        if pod is None:
            return
        if pod.job_uid:
            key = self._jobs.key_of(pod.job_uid)
            if key is not None and (deleted or pod.told != (before.told if before else AS_USUAL)):
                self._mark(key)
            return
        self._mark_runner((pod.namespace, pod.runner))
        if deleted or pod.ended:
            self._fleet.workers.pop(pod.name, None)

    def on_pods_listed(self, raws: Sequence[dict[str, Any]], listed_at: str, place: str) -> None:
        """`place`: the namespace whose pods these are, all of them; "": of every namespace."""
        for raw in raws:
            self.on_pod(raw, deleted=False)
        there = {(raw["metadata"]["namespace"], raw["metadata"]["name"]) for raw in raws}
        for namespace, name in self._world.pods_missing_in(there, place, int(listed_at)):
            self.on_pod({"metadata": {"namespace": namespace, "name": name}}, deleted=True)

    def on_deployment(self, raw: dict[str, Any], *, deleted: bool) -> None:
        meta = raw["metadata"]
        self._metrics.events.labels("deployments").inc()
        key = (meta["namespace"], meta["name"])
        seen = self._world.deployments.pop(key, None) if deleted else self._world.take_deployment(raw)
        if seen is not None:
            self._mark_runner((seen.namespace, seen.runner))

    def on_namespace(self, raw: dict[str, Any], *, deleted: bool) -> None:
        self._metrics.events.labels("namespaces").inc()
        name, places = raw["metadata"]["name"], self._settings.operator.places
        if places and name not in places:
            return
        if deleted:
            self._world.enabled.discard(name)
            self._supplies.forget(name)
            return
        if self._world.take_namespace(raw):
            for key in self._jobs.live_keys():
                if key[0] == name:
                    self._mark(key)
            for key in self._world.runners:
                if key[0] == name:
                    self._mark_runner(key)

    def on_lease(self, raw: dict[str, Any], *, deleted: bool) -> None:  # noqa: ARG002  # a change is a change
        self._metrics.events.labels("leases").inc()
        self._health.lease_seen = time.monotonic()

    def _mark(self, key: Key) -> None:
        if self._leads:
            self._queue.mark(key)

    def _mark_runner(self, key: Key) -> None:
        if self._leads:
            self._runner_queue.mark(key)

    async def watch_pods(self) -> None:
        """Until cancelled. Five events of each job are its pod's, and through Kopf each costs several times what is
        done with it.
        """
        async with asyncio.TaskGroup() as group:
            for place in self._settings.operator.places or ("",):
                listed = functools.partial(self.on_pods_listed, place=place)
                path, query = path_of("v1", "pods", place), {"labelSelector": MANAGED}
                group.create_task(reflect(self._cluster, path, query, listed=listed, hear=self.on_pod))

    # ── leading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def lead(self) -> None:
        """Until cancelled."""
        self._health.waits_for = "NATS"
        async with contextlib.AsyncExitStack() as stack:
            bus = await self._reach_nats(stack)
            await bus.ensure_streams()
            self._announcer = Announcer(bus)
            self._conversation = self._converse(bus)
            self._health.waits_for = "the objects of the cluster"
            await self._resync_until_it_works()
            self._leads = True
            self._fleet.listen_from(time.monotonic())
            self._take_over()
            self._metrics.leading.set(1)
            self._health.waits_for = ""
            log.info("operator leads", unfinished=len(self._jobs), finished=self._jobs.finished_count)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announcer.run())
                group.create_task(self._store.bring_bucket())
                group.create_task(self._conversation.run())
                group.create_task(
                    self._queue.run(self._settings.operator.reconcilers, self._timed("jobs", self._reconciler.look))
                )
                group.create_task(self._runner_queue.run(2, self._timed("runners", self._pools.look)))
                group.create_task(self._tick_for_ever(bus))
                group.create_task(self._expire_for_ever())
                group.create_task(self._resync_for_ever())

    async def _reach_nats(self, stack: contextlib.AsyncExitStack) -> Bus:
        """NATS may come later than we do."""
        while True:
            try:
                connecting = Bus.connect(self._settings.nats, name="operator", owns_streams=True)
                return await stack.enter_async_context(connecting)
            except Unavailable as error:
                log.warning("waiting for NATS", error=str(error))
                await asyncio.sleep(1)

    def _converse(self, bus: Bus) -> Conversation:
        wanted = self._settings.operator
        secret = wanted.secret.get_secret_value().encode()
        return Conversation(
            bus=bus,
            cluster=self._cluster,
            jobs=self._jobs,
            world=self._world,
            fleet=self._fleet,
            turns=self._turns,
            statuses=self._statuses,
            granter=Granter(self._store, secret, wanted.max_output_bytes),
            store=self._store,
            clock=self._clock,
            announce=self._announce,
            on_worker=self._on_worker,
            look=self._queue.mark,
            boot=uuid.uuid4().hex[:8],
        )

    def _take_over(self) -> None:
        """What the leader before left: everything is looked at, and what it may not have said is said again."""
        for key in self._jobs.live_keys():
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob) and self._under_way.account(job):
                self._order(job)
            self._queue.mark(key)
        for pod in self._world.pods.values():  # those of finished jobs, which nobody would look at
            key_of_pod = self._jobs.key_of(pod.job_uid) if pod.job_uid and not pod.ended else None
            if key_of_pod is not None:
                self._queue.mark(key_of_pod)
        for _, job in zip(range(_SAID_AGAIN), self._jobs.unarchived(), strict=False):
            self._statuses.announce(job.status.model_copy(update={"conditions": ()}), job)
        for runner in tuple(self._world.runners):
            self._runner_queue.mark(runner)

    def _timed(self, queue: str, look: Callable[[Key], Awaitable[None]]) -> Callable[[Key], Awaitable[None]]:
        reconcile, failures = self._metrics.reconcile.labels(queue), self._metrics.failures.labels(queue)

        async def timed(key: Key) -> None:
            with failures.count_exceptions(), reconcile.time():
                await look(key)

        return timed

    # ── news between the parts ────────────────────────────────────────────────────────────────────────────────────

    def _announce(self, *envelopes: Any) -> None:
        if self._announcer is not None:
            self._announcer.say(*envelopes)

    def _order(self, job: GenerationJob) -> None:
        if self._conversation is not None:
            self._conversation.order(job)

    def _on_written(self, before: GenerationJobStatus, job: GenerationJob) -> None:
        self._reconciler.on_written(before, job)
        status = job.status
        stopped = before.running and not status.running and status.phase is not Phase.SUCCEEDED
        if stopped and self._conversation is not None:
            self._conversation.signal_stop(job.metadata.uid, before.attempt)
        pool = names.TierPool.parse(status.plan.pool) if status.plan else None
        if pool is not None and self._supplies.most(str(pool)):  # its demand has changed
            self._mark_runner((pool.namespace, pool.runner))

    def _on_worker(self, beat: Heartbeat) -> None:
        pool = names.TierPool.parse(beat.pool)
        if pool is not None and self._knows_less_than(beat):
            self._mark_runner((pool.namespace, pool.runner))
        if beat.state is WorkerState.READY:
            self._reconciler.pump()

    def _knows_less_than(self, beat: Heartbeat) -> bool:
        """Whether this one changes what is known of its worker."""
        known = self._states.get(beat.worker)
        self._states[beat.worker] = beat.state
        return known is not beat.state

    def _on_runner_ready(self, runner: FunctionRunner) -> None:
        """Those who wait for it learn why: a bounded number of writes, the rest learn when their turn comes."""
        for tier in runner.spec.tiers:
            pool = str(names.TierPool(runner.metadata.namespace, runner.metadata.name, tier.quality.value))
            for key, _ in zip(self._turns.in_line(pool), range(100), strict=False):
                self._queue.mark(key)
        self._reconciler.pump()

    def _feel_squeeze(self) -> None:
        """Pools give their spare workers' room while it lasts, and take it back when it ends."""
        before, now = self._squeezed, self._clock()
        self._squeezed = any(
            diagnosis.wants_room(pod)
            and pod.created is not None
            and (now - pod.created).total_seconds() > _SQUEEZED_AFTER
            for pod in self._world.pending_attempts()
        )
        if self._squeezed is not before:
            for key in self._world.runners:
                self._runner_queue.mark(key)

    # ── what happens by itself ────────────────────────────────────────────────────────────────────────────────────

    async def _tick_for_ever(self, bus: Bus) -> None:
        last = measured_at = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if now - last > _RUN_AGAIN_GAP or not bus.connected:
                self._fleet.listen_from(now)
            self._fleet.listen_from(bus.connected_since)
            last = now
            self._tick_workers(now)
            self._tick_orders(now)
            if now >= measured_at + 1:
                measured_at = now
                self._measure()
                self._feel_squeeze()

    def _tick_workers(self, now: float) -> None:
        at_work = set()
        for key in self._under_way.running():
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob) and self._fleet.silent(job.status.worker, now):
                at_work.add(job.status.worker)
                self._queue.mark(key)
        for gone in self._fleet.forget_lost(now):
            self._states.pop(gone, None)
            if gone in at_work:
                log.warning("worker lost", worker=gone)
            else:  # it did what it was there for, or its pool became smaller
                log.info("worker left", worker=gone)
            for key in self._world.runners:
                self._runner_queue.mark(key)

    def _tick_orders(self, now: float) -> None:
        for uid in self._under_way.unclaimed(now - _ORDER_REPEAT):
            key = self._jobs.key_of(uid)
            job = self._jobs.live(key) if key else None
            plan = job.status.plan if isinstance(job, GenerationJob) else None
            if isinstance(job, GenerationJob) and plan and self._fleet.count(plan.pool, WorkerState.READY, now):
                self._under_way.ordered_again(uid)
                if self._conversation is not None:
                    self._conversation.order(job, repeat=int(now))

    def _measure(self) -> None:
        gauges = self._metrics
        gauges.queue.labels("jobs").set(len(self._queue))
        gauges.queue.labels("runners").set(len(self._runner_queue))
        gauges.jobs.labels("unfinished").set(len(self._jobs))
        gauges.jobs.labels("finished").set(self._jobs.finished_count)
        for state in WorkerState:
            count = sum(worker.beat.state is state for worker in self._fleet.workers.values())
            gauges.workers.labels(state.value).set(count)

    async def _expire_for_ever(self) -> None:
        """Apart from the ticks: hundreds of deletions may take longer than a worker may be silent."""
        while True:
            await asyncio.sleep(_EXPIRY_EVERY)
            await self._expire()

    async def _expire(self) -> None:
        for key in self._jobs.expired(self._clock())[:_EXPIRED_AT_ONCE]:
            try:
                await self._cluster.delete(job_path(key), uid=self._jobs.uid(key))
            except ClusterError as error:
                log.warning("finished job not deleted", job=key[1], error=str(error))
                return

    # ── resync ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _resync_until_it_works(self) -> None:
        while True:
            try:
                await self._resync()
            except ClusterError as error:
                log.warning("objects cannot be listed", error=str(error))
                await asyncio.sleep(1)
            else:
                return

    async def _resync_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.operator.resync.total_seconds())
            try:
                await self._resync()
            except ClusterError as error:
                log.warning("resync failed", error=str(error))

    async def _resync(self) -> None:
        """After an interrupted watch Kopf lists anew, and tells nobody of what was deleted meanwhile. Pods too:
        one look at everything, by whomever it is watched.
        """
        jobs = [(*key, self._jobs.uid(key)) for key in self._jobs.all_keys()]
        await self._resync_one(names.API_VERSION, "generationjobs", self.on_job, jobs)
        pods = [(*key, "") for key in self._world.pods]
        await self._resync_one("v1", "pods", self.on_pod, pods, labelSelector=MANAGED)
        runners = [(*key, "") for key in self._world.runners]
        await self._resync_one(names.API_VERSION, "functionrunners", self.on_runner, runners)
        deployments = [(*key, "") for key in self._world.deployments]
        await self._resync_one("apps/v1", "deployments", self.on_deployment, deployments, labelSelector=MANAGED)
        for raw in (await self._cluster.list(path_of("v1", "namespaces")))[0]:
            self.on_namespace(raw, deleted=False)

    async def _resync_one(
        self, version: str, plural: str, hear: Callable[..., None], known: list[tuple[str, str, str]], **query: str
    ) -> None:
        """`known`: what was known before the list was asked for; what came meanwhile is not judged by it."""
        for place in self._settings.operator.places or ("",):
            raws, listed_at = await self._cluster.list(path_of(version, plural, place), **query)
            there = {(raw["metadata"]["namespace"], raw["metadata"]["name"]) for raw in raws}
            for raw in raws:
                hear(raw, deleted=False)
            for namespace, name, uid in known:
                if place in ("", namespace) and (namespace, name) not in there:
                    gone = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": listed_at}
                    hear({"metadata": gone}, deleted=True)
