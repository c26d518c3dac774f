"""One FunctionRunner: a Deployment of warm workers for each of its tiers, as many as are asked for, and its readiness.

Scaled up at once, down when idle; a busy worker is never chosen to go.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, FunctionRunnerStatus, TierDeclaration
from auteur_contracts.vocabulary import Quality, Reason
from auteur_control.errors import Conflicted, Gone
from auteur_control.readiness import readiness
from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_operator import desired, diagnosis, pools
from auteur_operator.caches import Caches
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.diagnosis import HeldUp
from auteur_operator.object_cache import Deployment, Unusable
from auteur_operator.prerequisites import Prerequisites

log = get_logger()
_APPS = "apps/v1"
_COST = "controller.kubernetes.io/pod-deletion-cost"
_COUNTS_EVERY = 10.0
"""Seconds between writes of a status in which only numbers of workers have changed."""


@dataclass(frozen=True)
class PoolUse:
    """How much a pool is asked for, and who wants to hear of it."""

    waiting: Callable[[str], int]
    busy: Callable[[str], set[str]]
    """The pool's workers that have a job."""
    under_pressure: Callable[[], bool]
    """Whether some attempt's pod has found no room for a while."""
    on_change: Callable[[str], None]
    """The pool's readiness has changed."""


class RunnerReconciler:
    def __init__(
        self,
        cluster: Cluster,
        caches: Caches,
        prerequisites: Prerequisites,
        use: PoolUse,
        queue: WorkQueue[Key],
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._objects = caches.objects
        self._fleet = caches.fleet
        self._prerequisites = prerequisites
        self._use = use
        self._queue = queue
        self._clock = clock
        self._surplus: dict[str, pools.Surplus] = {}
        """pool → that it has more workers than are needed"""
        self._counted_at: dict[Key, float] = {}

    async def reconcile(self, key: Key) -> None:
        match self._objects.runners.get(key):
            case None:
                await self._remove(self._objects.deployments_of(*key))
            case Unusable() as unusable:
                status = FunctionRunnerStatus(ready=False, message=unusable.why)
                await self._put_status(key, unusable.version, status, None)
            case FunctionRunner() as runner if not self._objects.takes_workers(key[0]):
                await self._remove(self._objects.deployments_of(*key))
                status = FunctionRunnerStatus(ready=False, message=diagnosis.not_enabled(key[0]))
                await self._put_status(key, int(runner.metadata.resource_version), status, runner)
            case FunctionRunner() as runner:
                await self._prerequisites.look_for_devices()
                await self._prerequisites.nodes()
                held = await self._size_tiers(runner)
                await self._tell(runner, held)

    # ── pools ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _size_tiers(self, runner: FunctionRunner) -> dict[Quality, HeldUp]:
        """Returns what holds up a worker, of each tier of which one is held up."""
        known = {each.quality: each for each in self._objects.deployments_of(*_key(runner))}
        wanted = [tier for tier in runner.spec.tiers if tier.warm.max and runner.spec.image]
        for tier in wanted:
            await self._size(runner, tier, known.pop(tier.quality.value, None))
        await self._remove(list(known.values()))
        return {tier.quality: held for tier in wanted if (held := self._held_up(runner, tier))}

    async def _size(self, runner: FunctionRunner, tier: TierDeclaration, known: Deployment | None) -> None:
        pool = names.TierPool(*_key(runner), tier.quality.value)
        now = self._clock()
        have = known.replicas if known else 0
        size = pools.size(tier.warm, self._asked(str(pool)), have, self._surplus.get(str(pool)), now)
        if size.surplus is None:
            self._surplus.pop(str(pool), None)
        else:
            self._surplus[str(pool)] = size.surplus
        if size.again_at is not None:
            wait = max(0.0, (size.again_at - now).total_seconds())
            self._queue.add_after(_key(runner), wait + 0.05)
        await self._prerequisites.prepare_workers(pool.namespace)
        manifest = desired.pool_deployment(runner, tier, tier.planned, size.replicas, self._prerequisites.surroundings)
        changed = known is None or known.hash != manifest["metadata"]["annotations"][desired.SPEC_HASH]
        if not changed and have == size.replicas:
            return
        if tier.vram_gigabytes and desired.uses_dra(runner, self._prerequisites.surroundings):
            await self._prerequisites.claim_template(pool.namespace, tier.vram_gigabytes)
        if size.replicas < have:
            await self._choose_who_goes(pool, have - size.replicas)
        path = path_of(_APPS, "deployments", pool.namespace, pool.deployment)
        self._objects.take_deployment(await self._cluster.apply(path, manifest))
        log.info("pool sized", pool=str(pool), workers=size.replicas, had=have)

    def _asked(self, pool: str) -> pools.Demand:
        return pools.Demand(self._use.waiting(pool), len(self._use.busy(pool)), self._use.under_pressure())

    async def _choose_who_goes(self, pool: names.TierPool, count: int) -> None:
        """A ReplicaSet removes pods of the lowest deletion cost first. Those chosen are idle now; one that takes an
        order after all finishes it or hands it back.
        """
        busy = self._use.busy(str(pool))
        idle = [pod for pod in self._objects.pods_of_pool(pool) if pod.name not in busy]
        for pod in sorted(idle, key=lambda pod: pod.name)[:count]:
            patch: dict[str, Any] = {"metadata": {"annotations": {_COST: "-100"}}}
            try:
                await self._cluster.merge(path_of("v1", "pods", pod.namespace, pod.name), patch)
            except Gone:
                continue

    def _held_up(self, runner: FunctionRunner, tier: TierDeclaration) -> HeldUp | None:
        pool = names.TierPool(*_key(runner), tier.quality.value)
        by_labels = not desired.uses_dra(runner, self._prerequisites.surroundings)
        for pod in sorted(self._objects.pods_of_pool(pool), key=lambda pod: pod.name):
            held = diagnosis.held_up(pod, tier if by_labels else None, self._prerequisites.known_nodes)
            if held is not None and held.reason is not Reason.POD_STARTING:  # which it is for a moment, each of them
                return held
        return None

    async def _remove(self, deployments: list[Deployment]) -> None:
        for each in deployments:
            await self._cluster.delete(path_of(_APPS, "deployments", each.namespace, each.name))
            self._objects.deployments.pop((each.namespace, each.name), None)

    # ── readiness ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tell(self, runner: FunctionRunner, held: dict[Quality, HeldUp]) -> None:
        beats = self._fleet.of_runner(runner.metadata.name)
        nodes = None if desired.uses_dra(runner, self._prerequisites.surroundings) else self._prerequisites.known_nodes
        status = readiness(pools.tiers_seen(runner, beats, nodes, held))
        await self._put_status(_key(runner), int(runner.metadata.resource_version), status, runner)

    async def _put_status(
        self, key: Key, version: int, status: FunctionRunnerStatus, runner: FunctionRunner | None
    ) -> None:
        before = runner.status if runner else None
        if before == status:
            return
        only_counts = before is not None and _without_counts(before) == _without_counts(status)
        due = self._counted_at.get(key, float("-inf")) + _COUNTS_EVERY
        if only_counts and time.monotonic() < due:
            self._queue.add_at(key, due)
            return
        self._counted_at[key] = time.monotonic()
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": "FunctionRunner",
            "metadata": {"name": key[1], "namespace": key[0], "resourceVersion": str(version)},
            "status": status.model_dump(mode="json", exclude_none=True),
        }
        path = path_of(names.API_VERSION, "functionrunners", key[0], key[1], "status")
        try:
            put = await self._cluster.replace(path, manifest)
        except (Conflicted, Gone):  # the watch will show it
            return
        if runner is None:
            return
        meta = runner.metadata.model_copy(update={"resource_version": put})
        written = runner.model_copy(update={"metadata": meta, "status": status})
        self._objects.put_runner(written)
        if before is None or _without_counts(before) != _without_counts(status):
            for tier in written.spec.tiers:
                self._use.on_change(str(names.TierPool(*key, tier.quality.value)))


def _key(runner: FunctionRunner) -> Key:
    return runner.metadata.namespace, runner.metadata.name


def _without_counts(status: FunctionRunnerStatus) -> FunctionRunnerStatus:
    return status.model_copy(update={"workers_ready": 0, "workers_busy": 0})
