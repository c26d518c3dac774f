"""Who executes attempts on a cluster: warm workers of a tier's pool, and pods of one attempt."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from auteur_contracts import names
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Reason
from auteur_control.accounting import is_of_pool
from auteur_control.carriers import Carriers, Catalogue
from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_lifecycle import status as life
from auteur_lifecycle.capabilities import CLUSTER
from auteur_lifecycle.refusal import Refusal
from auteur_operator import diagnosis
from auteur_operator.attempts import Attempts
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.job_cache import JobCache
from auteur_operator.object_cache import ObjectCache
from auteur_operator.prerequisites import Prerequisites


class PodCarriers(Carriers):
    """`runner_queue`: FunctionRunners to reconcile, whose pools grow and shrink by what is heard here."""

    platform = CLUSTER

    def __init__(
        self,
        cluster: Cluster,
        jobs: JobCache,
        objects: ObjectCache,
        prerequisites: Prerequisites,
        attempts: Attempts,
        runner_queue: WorkQueue[Key],
    ) -> None:
        self._cluster = cluster
        self._jobs = jobs
        self._objects = objects
        self._prerequisites = prerequisites
        self._attempts = attempts
        self._runner_queue = runner_queue
        self._states: dict[str, WorkerState] = {}
        """worker → what it said last of itself"""

    # ── what can be made ──────────────────────────────────────────────────────────────────────────────────────────

    def catalogue(self, namespace: str) -> Catalogue:
        return self._objects.catalogue(namespace)

    def catalogues(self) -> Mapping[str, Catalogue]:
        return {namespace: self._objects.catalogue(namespace) for namespace in self._objects.enabled}

    async def learn_runners(self, namespace: str) -> bool:
        """A runner that was made just before its job may be shown by its watch only after the job."""
        learned = False
        for place in {namespace, self._objects.home}:
            raws, _ = await self._cluster.list(path_of(names.API_VERSION, "functionrunners", place))
            for raw in raws:
                learned |= self._objects.take_runner(raw)
        return learned

    def refuses(self, namespace: str) -> Refusal | None:
        if namespace in self._objects.enabled:
            return None
        why = f'Namespace "{namespace}" takes no jobs by command.'
        remedy = f"Let it in: kubectl label namespace {namespace} {names.LABEL_ENABLED}=true"
        return Refusal(Reason.NOT_SUPPORTED, why, "metadata.namespace", remedy)

    def holds(self, namespace: str) -> tuple[str, ...]:
        return self._jobs.holds_in(namespace)

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def most_workers(self, pool: str) -> int:
        return self._prerequisites.most_workers(pool)

    def is_of_attempt(self, worker: str, pool: str) -> bool:
        return self._objects.is_of_attempt(worker, pool)

    def on_heartbeat(self, beat: Heartbeat) -> None:
        pool = names.TierPool.parse(beat.pool)
        news = self._states.get(beat.worker) is not beat.state
        self._states[beat.worker] = beat.state
        if pool is not None and news:
            self._runner_queue.add((pool.namespace, pool.runner))

    def on_lost(self, workers: Sequence[str]) -> None:
        for worker in workers:
            self._states.pop(worker, None)
        for key in self._objects.runners:
            self._runner_queue.add(key)

    def on_demand(self, job: GenerationJob) -> None:
        pool = names.TierPool.parse(job.status.plan.pool) if job.status.plan else None
        if pool is not None and self.most_workers(str(pool)):
            self._runner_queue.add((pool.namespace, pool.runner))

    # ── one job ───────────────────────────────────────────────────────────────────────────────────────────────────

    def bars(self, job: GenerationJob, now: datetime) -> GenerationJobStatus | None:
        namespace, plan = job.metadata.namespace, job.status.plan
        if namespace not in self._objects.enabled:
            return life.wait(job, Reason.NAMESPACE_NOT_ENABLED, diagnosis.not_enabled(namespace), now)
        runner = self._objects.runner_of(plan.pool) if plan else None
        return None if runner is not None and runner.spec.image else job.status

    async def observe(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        status = job.status
        if not status.dispatched or status.finished:
            return status
        if not is_of_pool(status):
            return await self._attempts.observe(job, now)
        if status.plan is not None and not status.running and not self.most_workers(status.plan.pool):
            # The runner was deleted, or the tier's pool given up, before a worker took the order.
            return life.withdraw(job, "Its runner keeps no warm workers any more.", now)
        return status

    async def start(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        return await self._attempts.start(job, now)

    async def remove_strays(self, job: GenerationJob, before: GenerationJobStatus) -> None:
        await self._attempts.remove_strays(job, before)

    async def clean_up(self, key: Key) -> None:
        """Pods that still run are removed. What a deleted job owned is taken by the garbage collector."""
        job = self._jobs.find(key) if self._attempts.has_pod_at_work(key[0], self._jobs.uid(key)) else None
        if job is not None:
            await self._attempts.remove_strays(job)

    def forget(self, key: Key) -> None:
        self._attempts.forget(key)
