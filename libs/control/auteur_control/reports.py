"""Workers' reports: each is believed once, from the worker that the claim was granted to, while its attempt runs."""

from auteur_contracts.orders import Report, ReportHead
from auteur_contracts.resources import Failure, GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Reason
from auteur_control.errors import Invalid, Unreadable
from auteur_control.grants import Granter
from auteur_control.resources import JobResources, Key, Malformed
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_lifecycle import status as life
from auteur_lifecycle.estimate import Estimates

log = get_logger()


class Reports:
    def __init__(self, jobs: JobResources, granter: Granter, estimates: Estimates, clock: Clock) -> None:
        self._jobs = jobs
        self._granter = granter
        self._estimates = estimates
        self._clock = clock

    async def take(self, said: Report) -> None:
        key = (said.namespace, said.name)
        taken: GenerationJob | None = None

        def decide(job: GenerationJob) -> GenerationJobStatus:
            nonlocal taken
            taken = job if self._is_believed(said, job) else None
            return job.status if taken is None else self._decide(said, job)

        async with self._jobs.hold(key):
            self._check(key)
            try:
                await self._jobs.change(key, decide, malformed=True)
            except Invalid as error:  # it will be no other the next time
                why = f"It cannot be kept: {error.said}"
                await self._jobs.change(key, lambda job: self._refuse(said, job, why), malformed=True)
                return
        if taken is not None:
            self._estimates.learn(taken, said)

    async def take_unreadable(self, said: ReportHead, why: str) -> None:
        """Its attempt has ended, and nobody can say how."""
        key = (said.namespace, said.name)
        async with self._jobs.hold(key):
            self._check(key)
            await self._jobs.change(
                key, lambda job: self._refuse(said, job, f"It cannot be read: {why}"), malformed=True
            )

    def _check(self, key: Key) -> None:
        """Raises Unreadable where too little of the job can be read to end its attempt: the report waits."""
        found = self._jobs.live(key)
        if isinstance(found, Malformed) and any(_is_needed(field) for field in found.lost):
            raise Unreadable(f"report of {'/'.join(key)}", found.refusal.message)

    def _refuse(self, said: ReportHead, job: GenerationJob, why: str) -> GenerationJobStatus:
        if not self._is_believed(said, job):
            return job.status
        log.warning("report refused", job=said.name, attempt=said.attempt, why=why)
        told = f"The worker's report of its end is refused. {why}"[:2048]
        return self._fail(job, Reason.RESULT_MISSING, told)

    def _fail(self, job: GenerationJob, reason: Reason, message: str) -> GenerationJobStatus:
        now = self._clock()
        failure = Failure(fault=Fault.PLATFORM, reason=reason, message=message)
        return life.fail_attempt(life.paid_until(job, now), failure, now)

    def _is_believed(self, said: ReportHead, job: GenerationJob) -> bool:
        if job.metadata.uid != said.uid or not life.is_current(job, said.attempt):
            log.info("late report ignored", job=said.name, attempt=said.attempt)
            return False
        if not self._granter.believes(said, job):
            log.warning("report with a wrong token ignored", job=said.name, worker=said.worker)
            return False
        return True

    def _decide(self, said: Report, job: GenerationJob) -> GenerationJobStatus:
        """A fault of ours in one report must neither hold up the others nor bring it back for ever: its attempt fails
        as the platform's.
        """
        try:
            return life.report(job, said, self._clock())
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            log.exception("report cannot be taken in", job=said.name)
            message = f"Its report cannot be taken in, by a fault of Auteur: {error!r}"[:2048]
            return self._fail(job, Reason.PLATFORM_FAILED, message)


def _is_needed(field: str) -> bool:
    """Whether a job's field decides about the end of its attempt."""
    return field.startswith("status") or field in ("spec", "spec.project", "spec.retries")
