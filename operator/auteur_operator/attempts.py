"""Attempts that have a pod of their own: made by a batch/v1 Job, watched until they end, removed when they are over."""

import time
from datetime import datetime, timedelta

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus, Plan, TierDeclaration
from auteur_contracts.vocabulary import ConditionType, Reason
from auteur_control.accounting import has_own_pod, is_of_pool
from auteur_control.errors import Exists, Forbidden, Invalid
from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_lifecycle import status as life
from auteur_lifecycle.conditions import with_status
from auteur_operator import desired, diagnosis
from auteur_operator.attempt_outcome import (
    Failed,
    Findings,
    InProgress,
    Lookup,
    Reported,
    is_believed,
    newest,
    outcome_of,
)
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.diagnosis import HeldUp
from auteur_operator.lookups import BATCH, Lookups
from auteur_operator.object_cache import ObjectCache
from auteur_operator.prerequisites import Prerequisites
from auteur_operator.rate_limit import RateLimit

_QUIET = timedelta(seconds=5)
"""How long after it was made an attempt's pod may take to appear before the API server is asked where it is."""
_ASK_EVERY = 0.2
"""Seconds between two such questions."""
_STARTS_WITHIN = timedelta(seconds=10)
_LONGEST_WAIT = 30.0
_TRY_AGAIN = 10.0
"""Seconds after which a Job that the API server refused is tried again: a quota may have room by then."""
_NAME_AGAIN = 1.0
"""The same where the name is taken: mostly by what belonged to a deleted job of that name, and is about to go."""


class Attempts:
    def __init__(
        self,
        cluster: Cluster,
        objects: ObjectCache,
        lookups: Lookups,
        prerequisites: Prerequisites,
        queue: WorkQueue[Key],
    ) -> None:
        self._cluster = cluster
        self._objects = objects
        self._lookups = lookups
        self._prerequisites = prerequisites
        self._queue = queue
        self._rate_limit = RateLimit(_ASK_EVERY)

    # ── making ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        """The Job before the status that tells of it: should we end between the two, the next one finds it."""
        plan, attempt = job.status.plan, job.status.attempt + 1
        runner = self._runner_of(job)
        if plan is None or runner is None:
            return job.status
        try:
            await self._prerequisites.prepare(job.metadata.namespace, runner, plan)
            manifest = desired.attempt_job(job, plan, attempt, runner, self._prerequisites.surroundings)
            made = await self._cluster.make(path_of(BATCH, "jobs", job.metadata.namespace), manifest)
            self._lookups.remember(job, attempt, made)
        except Exists:
            if not await self._adopt(job, plan, attempt):
                taken = diagnosis.name_taken(names.attempt_name(job.metadata.name, attempt))
                return self._refused(job, taken, now, again=_NAME_AGAIN)
        except (Forbidden, Invalid) as error:
            return self._refused(job, diagnosis.refused_pod(error.said), now)
        # A pod that nobody lets in makes no event: only looking shows that there is none.
        self._queue.add_after(job.key, _QUIET.total_seconds())
        return life.dispatch(job, now, pod=True)

    def _refused(
        self, job: GenerationJob, held: HeldUp, now: datetime, again: float = _TRY_AGAIN
    ) -> GenerationJobStatus:
        """The attempt's Job could not be made. Its turn stays its own: were it another's meanwhile, all jobs of a
        namespace that wait would ask the API server in vain, again and again.
        """
        self._queue.add_after(job.key, again)
        return life.wait(job, held.reason, held.message, now)

    async def _adopt(self, job: GenerationJob, plan: Plan, attempt: int) -> bool:
        """Whether the attempt's Job was made by an earlier leader, for this plan. One that was made for another (its
        runner has changed since, or somebody prepared it) is removed, and the attempt made anew.
        """
        made = await self._lookups.batch_job(job, attempt)
        if made is None or made.deleting:
            return False
        if made.plan != desired.plan_text(plan):
            await self._remove(job, attempt, made.uid)
            return False
        return True

    # ── watching ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def observe(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        status = job.status
        findings = Findings(pod=newest(await self._lookups.pods_of_attempt(job)))
        if findings.pod is None and (not has_own_pod(status) or not self._may_ask(job, now)):
            return status  # a newer version may have carried it otherwise than by a pod
        tier = self._tier(job)
        while isinstance(outcome := outcome_of(job, findings, tier), Lookup):
            findings = await self._lookups.look_up(outcome, job, findings)
        match outcome:
            case InProgress(held_up=held, recheck=recheck):
                if recheck:
                    self._look_later(job, now)
                if held is not None and held.reason is Reason.CONTAINER_NOT_STARTED:
                    await self._mend(job)
                if held is None or self._is_usual(held, job, now):
                    return status
                return life.hold_up(job, held.reason, held.message, now)
            case Reported(report=said, worker=worker) if is_believed(said, job):
                ran = with_status(job, life.has_run(job, said.attempt, worker, said.started_at, now))
                return life.report(ran, said, now)
            case Reported():
                return life.end_attempt(job, status.attempt, diagnosis.vanished("What it said of its end"), now)
            case Failed(failure=failure):
                return life.end_attempt(job, status.attempt, failure, now)

    async def _mend(self, job: GenerationJob) -> None:
        """Makes what its pod refers to again: it may have been deleted since."""
        plan, namespace, runner = job.status.plan, job.metadata.namespace, self._runner_of(job)
        if plan is not None and runner is not None:
            self._prerequisites.forget(namespace)
            await self._prerequisites.prepare(namespace, runner, plan)

    def _may_ask(self, job: GenerationJob, now: datetime) -> bool:
        """Whether the API server may be asked where the pod is: not at once, and not for thousands at the same time."""
        status, clock = job.status, time.monotonic()
        if status.dispatch_time is not None and now < status.dispatch_time + _QUIET:
            slot = clock + _QUIET.total_seconds()
        else:
            slot = clock if status.running else self._rate_limit.slot(job.key, clock)
        if slot > clock:
            self._queue.add_at(job.key, slot)
        return slot <= clock

    def _is_usual(self, held: HeldUp, job: GenerationJob, now: datetime) -> bool:
        """Every pod takes a moment to start: that is told only when it takes longer, or ends another trouble."""
        since = job.status.dispatch_time or now
        told = job.status.condition(ConditionType.RUNNING)
        news = told is not None and told.reason is not held.reason and job.status.attempt == 1
        if held.reason is not Reason.POD_STARTING:
            return False
        if now >= since + _STARTS_WITHIN or news:
            self._look_later(job, now)  # what it does next is no event that would have it looked at
            return False
        self._queue.add_after(job.key, _STARTS_WITHIN.total_seconds())
        return True

    def _look_later(self, job: GenerationJob, now: datetime) -> None:
        """The job is reconciled again later: the longer it takes, the more seldom."""
        since = job.status.dispatch_time or now
        waited = (now - since).total_seconds()
        self._queue.add_after(job.key, min(_LONGEST_WAIT, max(2.0, waited / 4)))

    def _runner_of(self, job: GenerationJob) -> FunctionRunner | None:
        plan = job.status.plan
        return self._objects.runner_of(plan.pool) if plan else None

    def _tier(self, job: GenerationJob) -> TierDeclaration | None:
        """None, too, where GPUs are claimed: labels of nodes tell nothing of them then."""
        plan, runner = job.status.plan, self._runner_of(job)
        if plan is None or runner is None or desired.uses_dra(runner, self._prerequisites.surroundings):
            return None
        return runner.tier(plan.tier.quality)

    # ── removing ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def remove_strays(self, job: GenerationJob, before: GenerationJobStatus | None = None) -> None:
        """Jobs of attempts that are not the one under way, where a pod of it runs; and of the one that was under way
        `before`, where it never had a pod: a queue or a quota may let one in yet.
        """
        status, pods = job.status, self._objects.pods_of_job(job.metadata.namespace, job.metadata.uid)
        wanted = status.attempt if status.dispatched and not status.finished and not is_of_pool(status) else 0
        strays = {(pod.attempt, pod.owner_uid) for pod in pods if pod.at_work and pod.owner_uid}
        if before is not None and before.dispatched and has_own_pod(before):
            podless = {before.attempt} - {pod.attempt for pod in pods}
            strays |= {(attempt, self._lookups.made(job, attempt)) for attempt in podless}
        for attempt, uid in sorted(strays):
            if attempt != wanted:
                await self._remove(job, attempt, uid)

    async def _remove(self, job: GenerationJob, attempt: int, uid: str) -> None:
        """`uid`: of the attempt's Job; empty where whatever has its name is meant."""
        name = names.attempt_name(job.metadata.name, attempt)
        await self._cluster.delete(path_of(BATCH, "jobs", job.metadata.namespace, name), uid=uid)

    def has_pod_at_work(self, namespace: str, uid: str) -> bool:
        return any(pod.at_work for pod in self._objects.pods_of_job(namespace, uid))

    def forget(self, key: Key) -> None:
        self._rate_limit.forget(key)
        self._lookups.forget(key)
