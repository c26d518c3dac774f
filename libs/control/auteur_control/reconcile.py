"""One function for every cause: look at a job and at all that belongs to it, decide once, make what is missing, write
the status once if it changed. Running it twice in a row changes nothing.
"""

import time
from datetime import datetime

from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType, Reason
from auteur_control.accounting import Accounting
from auteur_control.carriers import Carriers
from auteur_control.errors import Conflicted, Gone
from auteur_control.fair_queue import Placement, Turn
from auteur_control.loops import LATER
from auteur_control.reading import looked_up
from auteur_control.resources import JobResources, Key, Malformed
from auteur_control.work_queue import WorkQueue
from auteur_kit import trace
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_lifecycle import status as life
from auteur_lifecycle.conditions import with_phase, with_status
from auteur_lifecycle.fleet import Fleet
from auteur_lifecycle.refusal import Refusal

log = get_logger()
_SAYS_WHETHER_IT_HAS_BEGUN = {"status", "status.conditions"}


class JobReconciler:
    """`bucket`: where inputs must lie."""

    def __init__(
        self,
        jobs: JobResources,
        carriers: Carriers,
        accounting: Accounting,
        fleet: Fleet,
        queue: WorkQueue[Key],
        *,
        bucket: str,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._carriers = carriers
        self._accounting = accounting
        self._fleet = fleet
        self._queue = queue
        self._bucket = bucket
        self._clock = clock

    # ── one job ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def reconcile(self, key: Key) -> None:
        async with self._jobs.hold(key):
            match self._jobs.live(key):
                case None:
                    self._queue.forget(key)
                    self._accounting.return_turn(key)
                    await self._carriers.clean_up(key)
                    ended = self._jobs.find(key)
                    if ended is not None and (status := with_phase(ended.status)) is not ended.status:
                        await self._jobs.update(ended, status)
                case Malformed() as unreadable:
                    await self._hold_back(unreadable)
                case GenerationJob() as job:
                    try:
                        await self._reconcile(job)
                    except Conflicted:  # it has been read anew
                        self._queue.add(key)
                    except Gone:
                        self.forget(key, job.metadata.uid)
                    except LATER:  # it keeps its turn: others would fail alike
                        raise
                    except Exception:
                        self._accounting.stand_down(job.metadata.uid, key)
                        self.give_turns()
                        raise

    async def _hold_back(self, unreadable: Malformed[GenerationJob]) -> None:
        """It gets a condition where it has not begun; else it is left to its attempt, and to who can read it."""
        job = unreadable.resource
        if life.has_begun(job.status) or unreadable.lost & _SAYS_WHETHER_IT_HAS_BEGUN:
            log.warning("job cannot be read", job=job.metadata.name, why=unreadable.refusal.message)
            return
        self._accounting.stand_down(job.metadata.uid, job.key)
        await self._jobs.update(job, life.hold_back(job, unreadable.refusal, self._clock()))

    async def _reconcile(self, job: GenerationJob) -> None:
        now = self._clock()
        status = self._next_status(job, now)
        if _knows_no_runner(status) and await self._carriers.learn_runners(job.metadata.namespace):
            status = self._next_status(job, now)
        status = await self._carriers.observe(with_status(job, status), now)
        if life.ready_for_worker(with_status(job, status)):
            turn = self._take_turn(with_status(job, status), now)
            status = await self._carriers.start(with_status(job, status), now) if isinstance(turn, Turn) else turn
        else:
            self._accounting.stand_down(job.metadata.uid, job.key)
            if status.queue is not None:  # it stands in no queue any more
                status = status.model_copy(update={"queue": None})
        written = await self._jobs.update(job, with_phase(life.recover(with_status(job, status))))
        await self._carriers.remove_strays(written, job.status)
        self.set_timer(written)

    def first_status(self, job: GenerationJob) -> GenerationJobStatus:
        """The status of a job that is about to be created: with a worker, if one is free."""
        now = self._clock()
        status = self._next_status(job, now)
        if not life.ready_for_worker(with_status(job, status)):
            return status
        turn = self._take_turn(with_status(job, status), now)
        return status if isinstance(turn, Turn) else turn

    def _next_status(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        try:
            status = life.next_status(job, self._seen(job), now)
        except (ArithmeticError, LookupError, TypeError, AttributeError, AssertionError) as error:
            if job.status.plan is not None:
                raise
            log.exception("job cannot be planned", job=job.metadata.name)
            message = f"It cannot be planned, by a fault of Auteur: {error!r}."
            status = life.refuse(job, Refusal(Reason.PLATFORM_FAILED, message, "", "Tell its maintainers."), now)
        return status if status is job.status else self._first_decided(job, status)

    def _first_decided(self, job: GenerationJob, status: GenerationJobStatus) -> GenerationJobStatus:
        """With what the first decision settles for good."""
        settled: dict[str, object] = {}
        if not status.trace_id:
            settled["trace_id"] = trace.trace_id(trace.parent_of(job))
        if status.holds is None:
            settled["holds"] = self._carriers.holds(job.metadata.namespace)
        return status.model_copy(update=settled) if settled else status

    def _seen(self, job: GenerationJob) -> life.Seen:
        namespace = job.metadata.namespace
        silent = job.status.running and self._fleet.silent(job.status.worker, time.monotonic())
        return life.Seen(
            catalogue=self._carriers.catalogue(namespace),
            lookup=looked_up(self._jobs, namespace),
            worker_silent=silent,
            bucket=self._bucket,
            platform=self._carriers.platform,
        )

    def set_timer(self, job: GenerationJob) -> None:
        """Retries, deadlines and start deadlines come without an event."""
        due, now = life.look_again_at(job), self._clock()
        if due is not None:
            self._queue.add_after(job.key, max(0.0, (due - now).total_seconds()) + 0.01)

    def forget(self, key: Key, uid: str) -> None:
        """The job was deleted."""
        self._accounting.forget(key, uid)
        self._queue.forget(key)
        self._carriers.forget(key)
        self.give_turns()

    # ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_turn(self, job: GenerationJob, now: datetime) -> GenerationJobStatus | Turn:
        """Dispatched to a worker, or why it waits; a turn where it gets a pod of its own."""
        barred = self._carriers.bars(job, now)
        if barred is not None:
            self._accounting.stand_down(job.metadata.uid, job.key)
            return barred
        self._accounting.join(job)
        self.give_turns(without=job.key)
        granted = self._accounting.turn_of(job.key)
        if granted is None:
            return self._why_it_waits(job, now)
        return life.dispatch(job, now) if granted.placement is Placement.WORKER else granted

    def _why_it_waits(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        queue = self._accounting.queue
        if queue.is_full(job.metadata.namespace):
            why = f"Its namespace has as many jobs under way as it may: {queue.limits.per_namespace}."
            return life.wait(job, Reason.WAITING_FOR_TURN, why, now)
        return job.status

    def give_turns(self, *, without: Key | None = None) -> None:
        """Gives turns while the next job can be carried; jobs that got one are reconciled, except `without`."""
        for key in self._accounting.give_turns():
            if key != without:
                self._queue.add(key)


def _knows_no_runner(status: GenerationJobStatus) -> bool:
    held = status.condition(ConditionType.ACCEPTED)
    return held is not None and held.reason in (
        Reason.UNKNOWN_FUNCTION,
        Reason.UNKNOWN_RUNNER,
        Reason.TIER_NOT_OFFERED,
    )
