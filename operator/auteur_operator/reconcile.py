"""One function for every cause: look at a job and at all that belongs to it, decide once, make what is missing, write
the status once if it changed, announce. Running it twice in a row changes nothing.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import ValidationError

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob, GenerationJobStatus, Plan, TierDeclaration
from auteur_contracts.vocabulary import ConditionType, Reason
from auteur_kit.clock import Clock
from auteur_lifecycle import status as life
from auteur_lifecycle.capabilities import CLUSTER
from auteur_lifecycle.fleet import Fleet
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
from auteur_operator.cluster import Cluster, Conflicted, Exists, Forbidden, Gone, Invalid, path_of
from auteur_operator.diagnosis import HeldUp
from auteur_operator.jobs import Jobs, Malformed
from auteur_operator.lookups import BATCH, Lookups
from auteur_operator.queue import WorkQueue
from auteur_operator.rate_limit import RateLimit
from auteur_operator.statuses import Statuses
from auteur_operator.supplies import Supplies
from auteur_operator.turns import Carrier, Key
from auteur_operator.underway import UnderWay, has_own_pod
from auteur_operator.world import World

_QUIET = timedelta(seconds=5)
"""How long after it was made an attempt's pod may take to appear before we ask where it is."""
_ASK_EVERY = 0.2
"""Seconds between two such questions."""
_STARTS_WITHIN = timedelta(seconds=10)
_LONGEST_WAIT = 30.0
_TRY_AGAIN = 10.0
"""Seconds after which a Job that the API server refused is tried again: a quota may have room by then."""
_NAME_AGAIN = 1.0
"""The same where the name is taken: mostly by what belonged to a deleted job of that name, and is about to go."""


class JobReconciler:
    def __init__(
        self,
        *,
        cluster: Cluster,
        jobs: Jobs,
        world: World,
        under_way: UnderWay,
        lookups: Lookups,
        fleet: Fleet,
        statuses: Statuses,
        bucket: str,
        queue: WorkQueue[Key],
        supplies: Supplies,
        clock: Clock,
        limit: int,
        order: Callable[[GenerationJob], None],
    ) -> None:
        self._cluster = cluster
        self._jobs = jobs
        self._world = world
        self._under_way = under_way
        self._lookups = lookups
        self._fleet = fleet
        self._statuses = statuses
        self._bucket = bucket
        self._queue = queue
        self._supplies = supplies
        self._clock = clock
        self._limit = limit
        self._order = order
        self._rate_limit = RateLimit(_ASK_EVERY)

    # ── one job ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def look(self, key: Key) -> None:
        async with self._statuses.hold(key):
            match self._jobs.live(key):
                case None:
                    await self._clean_up(key)
                case Malformed(job=job, refusal=refusal):
                    await self._statuses.write(job, life.refuse(job, refusal, self._clock()))
                case GenerationJob() as job:
                    try:
                        await self._look(job)
                    except Conflicted:  # it has been read anew
                        self._queue.mark(key)
                    except Gone:
                        self.forget(key, job.metadata.uid)

    async def _look(self, job: GenerationJob) -> None:
        now = self._clock()
        status = life.next_status(job, self._seen(job), now)
        if _knows_no_runner(status):
            await self._learn_runners(job.metadata.namespace)
            status = life.next_status(job, self._seen(job), now)
        if status.dispatched and not status.finished and has_own_pod(status):
            status = await self._judged(_with(job, status), now)
        elif self._is_ordered_from_nobody(status):
            status = life.withdraw(_with(job, status), "Its runner keeps no warm workers any more.", now)
            status = life.next_status(_with(job, status), self._seen(job), now)
        if life.ready_for_worker(_with(job, status)):
            status = await self._take_turn(_with(job, status), now)
        else:
            self._under_way.stand_down(job.metadata.uid, job.key)
            if status.queue is not None:  # it stands in no line any more
                status = status.model_copy(update={"queue": None})
        written = await self._statuses.write(job, status)
        await self._remove_strays(written, before=job.status)
        self._set_timer(written, now)

    def _is_ordered_from_nobody(self, status: GenerationJobStatus) -> bool:
        """Its runner was deleted, or the tier's pool given up, before a worker took the order."""
        plan, waits = status.plan, status.dispatched and not status.running and not status.finished
        return waits and plan is not None and not self._supplies.most(plan.pool)

    def _seen(self, job: GenerationJob) -> life.Seen:
        namespace = job.metadata.namespace
        silent = job.status.running and self._fleet.silent(job.status.worker, time.monotonic())
        return life.Seen(
            catalogue=self._world.catalogue(namespace),
            lookup=lambda name: self._jobs.find((namespace, name)),
            worker_silent=silent,
            bucket=self._bucket,
            platform=CLUSTER,
        )

    async def _learn_runners(self, namespace: str) -> None:
        """One that was made just before its job may be shown after it."""
        for place in {namespace, self._world.home}:
            raws, _ = await self._cluster.list(path_of(names.API_VERSION, "functionrunners", place))
            for raw in raws:
                self._world.take_runner(raw)

    def _set_timer(self, job: GenerationJob, now: datetime) -> None:
        due = life.look_again_at(job)
        if due is not None:
            self._queue.mark_at(job.key, time.monotonic() + max(0.0, (due - now).total_seconds()) + 0.01)

    async def _clean_up(self, key: Key) -> None:
        """Of a finished job nothing runs on. What a deleted one owned, the garbage collector takes."""
        pods = self._world.pods_of_job(self._jobs.uid(key))
        finished = self._jobs.find(key) if any(pod.at_work for pod in pods) else None
        if finished is not None:
            await self._remove_strays(finished)

    async def _remove_strays(self, job: GenerationJob, before: GenerationJobStatus | None = None) -> None:
        """Jobs of attempts that are not the one under way, where a pod of it runs; and of the one that was under way
        `before`, where it never had a pod: a queue or a quota may let one in yet.
        """
        status, pods = job.status, self._world.pods_of_job(job.metadata.uid)
        wanted = status.attempt if status.dispatched and not status.finished and has_own_pod(status) else 0
        strays = {pod.attempt for pod in pods if pod.at_work}
        if before is not None and before.dispatched and has_own_pod(before):
            strays |= {before.attempt} - {pod.attempt for pod in pods}
        for attempt in sorted(strays - {wanted}):
            await self._remove(job, attempt)

    async def _remove(self, job: GenerationJob, attempt: int) -> None:
        name = names.attempt_name(job.metadata.name, attempt)
        await self._cluster.delete(path_of(BATCH, "jobs", job.metadata.namespace, name))

    # ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_turn(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        """Dispatched, if it is its turn; else why it waits."""
        plan = job.status.plan
        if job.metadata.namespace not in self._world.enabled:
            self._under_way.stand_down(job.metadata.uid, job.key)
            return life.wait(job, Reason.NAMESPACE_NOT_ENABLED, diagnosis.not_enabled(job.metadata.namespace), now)
        runner = self._world.runner_of(plan.pool) if plan else None
        if plan is None or runner is None or not runner.spec.image:
            self._under_way.stand_down(job.metadata.uid, job.key)
            return job.status
        self._under_way.join(job)
        self.pump(without=job.key)
        granted = self._under_way.turn_of(job.key)
        if granted is None:
            return self._why_it_waits(job, now)
        if granted.carrier is Carrier.WORKER:
            return life.dispatch(job, now)
        return await self._make_job(job, plan, now)

    def _why_it_waits(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        if self._under_way.is_full(job.metadata.namespace):
            why = f"Its namespace has as many jobs under way as it may: {self._limit}."
            return life.wait(job, Reason.WAITING_FOR_TURN, why, now)
        return job.status

    def pump(self, *, without: Key | None = None) -> None:
        """Gives turns while there is somebody to carry. Who got one is looked at; `without`: whoever asks knows."""
        for key in self._under_way.give_turns():
            if key != without:
                self._queue.mark(key)

    # ── a pod of its own ──────────────────────────────────────────────────────────────────────────────────────────

    async def _make_job(self, job: GenerationJob, plan: Plan, now: datetime) -> GenerationJobStatus:
        """The Job before the status that tells of it: should we end between the two, the next one finds it."""
        attempt = job.status.attempt + 1
        runner = self._world.runner_of(plan.pool)
        if runner is None:
            return job.status
        try:
            await self._supplies.prepare(job.metadata.namespace, runner, plan)
            manifest = desired.attempt_job(job, plan, attempt, runner, self._supplies.surroundings)
            await self._cluster.make(path_of(BATCH, "jobs", job.metadata.namespace), manifest)
        except Exists:
            adopted = await self._adopt(job, attempt, now)
            if adopted is None:
                return self._refused(
                    job, diagnosis.name_taken(names.attempt_name(job.metadata.name, attempt)), now, again=_NAME_AGAIN
                )
            job = adopted
        except (Forbidden, Invalid) as error:
            return self._refused(job, diagnosis.refused_pod(error.said), now)
        # A pod that nobody lets in makes no event: only looking shows that there is none.
        self._queue.mark_at(job.key, time.monotonic() + _QUIET.total_seconds())
        return life.dispatch(job, now, pod=True)

    def _refused(
        self, job: GenerationJob, held: HeldUp, now: datetime, again: float = _TRY_AGAIN
    ) -> GenerationJobStatus:
        """The attempt's Job could not be made. Its turn stays its own: were it another's meanwhile, all of a namespace
        that wait would ask the API server in vain, again and again.
        """
        self._queue.mark_at(job.key, time.monotonic() + again)
        return life.wait(job, held.reason, held.message, now)

    async def _adopt(self, job: GenerationJob, attempt: int, now: datetime) -> GenerationJob | None:
        """The attempt's Job was made by an earlier life of ours: by its plan, if it was the first that told of one.
        None where it is not ours, or about to go.
        """
        made = await self._lookups.batch_job(job, attempt)
        if made is None or made.job_uid != job.metadata.uid or made.deleting:
            return None
        if attempt > 1:
            return job
        try:
            plan = Plan.model_validate_json(made.plan)
        except ValidationError:
            return job
        return job if plan == job.status.plan else _with(job, life.accept(job, plan, now))

    async def _judged(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        status = job.status
        pods = [pod for pod in self._world.pods_of_job(job.metadata.uid) if pod.attempt == status.attempt]
        findings = Findings(pod=newest(pods))
        if findings.pod is None and not self._may_ask(job, now):
            return status
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
                ran = _with(job, life.has_run(job, said.attempt, worker, said.started_at, now))
                return life.report(ran, said, now)
            case Reported():
                return life.end_attempt(job, status.attempt, diagnosis.vanished("What it said of its end"), now)
            case Failed(failure=failure):
                return life.end_attempt(job, status.attempt, failure, now)

    async def _mend(self, job: GenerationJob) -> None:
        """What its pod refers to may have been deleted since it was made."""
        plan, namespace = job.status.plan, job.metadata.namespace
        runner = self._world.runner_of(plan.pool) if plan else None
        if plan is not None and runner is not None:
            self._supplies.forget(namespace)
            await self._supplies.prepare(namespace, runner, plan)

    def _may_ask(self, job: GenerationJob, now: datetime) -> bool:
        """Where is its pod? Nobody asks that at once, or of thousands that are being made at the same time."""
        status, clock = job.status, time.monotonic()
        if status.dispatch_time is not None and now < status.dispatch_time + _QUIET:
            slot = clock + _QUIET.total_seconds()
        else:
            slot = clock if status.running else self._rate_limit.slot(job.key, clock)
        if slot > clock:
            self._queue.mark_at(job.key, slot)
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
        self._queue.mark_at(job.key, time.monotonic() + _STARTS_WITHIN.total_seconds())
        return True

    def _look_later(self, job: GenerationJob, now: datetime) -> None:
        """The longer it takes the more seldom."""
        since = job.status.dispatch_time or now
        waited = (now - since).total_seconds()
        self._queue.mark_at(job.key, time.monotonic() + min(_LONGEST_WAIT, max(2.0, waited / 4)))

    def _tier(self, job: GenerationJob) -> TierDeclaration | None:
        """None, too, where GPUs are claimed: labels of nodes tell nothing of them then."""
        plan = job.status.plan
        runner = self._world.runner_of(plan.pool) if plan else None
        if plan is None or runner is None or desired.uses_dra(runner, self._supplies.surroundings):
            return None
        return runner.tier(plan.tier.quality)

    # ── what was written ──────────────────────────────────────────────────────────────────────────────────────────

    def on_written(self, before: GenerationJobStatus, job: GenerationJob) -> None:
        """Keeps the books of who is under way, and lets those look again that this may concern."""
        self._under_way.account(job)
        if job.status.finished:
            for waiting in self._jobs.waiting_for(job.key):
                self._queue.mark(waiting)
        elif before.dispatched and not job.status.dispatched:  # by a report, say: what comes next is looked for at once
            self._queue.mark(job.key)
        ordered = job.status.dispatched and not job.status.running and not has_own_pod(job.status)
        if ordered and (not before.dispatched or before.attempt < job.status.attempt):
            self._order(job)
        self.pump()

    def forget(self, key: Key, uid: str) -> None:
        """The job was deleted."""
        self._under_way.forget(key, uid)
        self._rate_limit.forget(key)
        for waiting in self._jobs.waiting_for(key):
            self._queue.mark(waiting)
        self.pump()


def _with(job: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
    return job.model_copy(update={"status": status})


def _knows_no_runner(status: GenerationJobStatus) -> bool:
    held = status.condition(ConditionType.ACCEPTED)
    return held is not None and held.reason in (
        Reason.UNKNOWN_FUNCTION,
        Reason.UNKNOWN_RUNNER,
        Reason.TIER_NOT_OFFERED,
    )
