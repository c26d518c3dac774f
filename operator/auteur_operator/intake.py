"""What the watches show: kept in the caches, and keys added to the queues of whoever leads. Decides nothing."""

import time
from typing import Any

from auteur_contracts import names
from auteur_control.resources import Key
from auteur_operator import desired
from auteur_operator.caches import Caches, Queues
from auteur_operator.health import Health
from auteur_operator.metrics import Metrics
from auteur_operator.observed import AS_USUAL, Pod
from auteur_operator.prerequisites import Prerequisites
from auteur_operator.resources import ClusterJobs

Raw = dict[str, Any]


class Intake:
    """`places`: the only namespaces that count; none: all of them."""

    def __init__(
        self,
        caches: Caches,
        jobs: ClusterJobs,
        prerequisites: Prerequisites,
        places: tuple[str, ...],
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._caches = caches
        self._cache = caches.jobs
        self._objects = caches.objects
        self._fleet = caches.fleet
        self._jobs = jobs
        self._prerequisites = prerequisites
        self._places = places
        self._health = health
        self._metrics = metrics
        self.queues: Queues | None = None
        """None while another replica leads."""

    def on_job(self, raw: Raw, *, deleted: bool) -> None:
        self._metrics.events.labels("generationjobs").inc()
        meta = raw["metadata"]
        if deleted:
            self._jobs.gone((meta["namespace"], meta["name"]), meta["uid"], int(meta["resourceVersion"]))
        else:
            self._jobs.seen(raw)

    def on_runner(self, raw: Raw, *, deleted: bool) -> None:
        self._metrics.events.labels("functionrunners").inc()
        key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        if deleted:
            self._objects.drop_runner(key)
        elif not self._objects.take_runner(raw):
            return
        self._add_runner(key)
        for job in self._cache.live_keys():  # a plan may be possible now, or not any more
            if key[0] in (job[0], self._objects.home):
                self._add_job(job)

    def on_pod(self, raw: Raw, *, deleted: bool) -> None:
        self._metrics.events.labels("pods").inc()
        key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        before = self._objects.pods.get(key)
        pod = self._objects.drop_pod(*key) if deleted else self._objects.take_pod(raw)
        if pod is None:
            return
        if pod.job_uid:
            job = self._caches.job_of(pod)
            if job is not None and (deleted or pod.told != (before.told if before else AS_USUAL)):
                self._add_job(job)
            return
        self._add_runner((pod.namespace, pod.runner))
        if deleted or pod.ended:
            self._left(pod)

    def _left(self, pod: Pod) -> None:
        """A pod speaks for the worker of its name only where it is of that worker's pool."""
        worker = self._fleet.workers.get(pod.name)
        pool = names.TierPool.parse(worker.beat.pool) if worker else None
        if pool is not None and (pool.namespace, desired.pool_label(pool)) == (pod.namespace, pod.pool):
            del self._fleet.workers[pod.name]

    def on_deployment(self, raw: Raw, *, deleted: bool) -> None:
        self._metrics.events.labels("deployments").inc()
        key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        seen = self._objects.deployments.pop(key, None) if deleted else self._objects.take_deployment(raw)
        if seen is not None:
            self._add_runner((seen.namespace, seen.runner))

    def on_namespace(self, raw: Raw, *, deleted: bool) -> None:
        self._metrics.events.labels("namespaces").inc()
        name = raw["metadata"]["name"]
        if self._places and name not in self._places:
            return
        if deleted:
            self._objects.enabled.discard(name)
            self._prerequisites.forget(name)
        elif self._objects.take_namespace(raw):
            for key in self._cache.live_keys():
                if key[0] == name:
                    self._add_job(key)
            for key in self._objects.runners:
                if key[0] == name:
                    self._add_runner(key)

    def on_lease(self, raw: Raw, *, deleted: bool) -> None:  # noqa: ARG002  # a change is a change
        self._metrics.events.labels("leases").inc()
        self._health.lease_seen = time.monotonic()

    def _add_job(self, key: Key) -> None:
        if self.queues is not None:
            self.queues.jobs.add(key)

    def _add_runner(self, key: Key) -> None:
        if self.queues is not None:
            self.queues.runners.add(key)
