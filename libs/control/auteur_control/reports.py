"""Workers' reports: each is believed once, from the worker that the claim was granted to, while its attempt runs."""

from auteur_contracts.orders import Report
from auteur_contracts.resources import Failure, GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Reason
from auteur_control.grants import Granter
from auteur_control.resources import JobResources
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
            await self._jobs.change(key, decide)
        if taken is not None:
            self._estimates.learn(taken, said)

    def _is_believed(self, said: Report, job: GenerationJob) -> bool:
        if job.metadata.uid != said.uid or not life.is_current(job, said.attempt):
            log.info("late report ignored", job=said.name, attempt=said.attempt, outcome=said.outcome.value)
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
            failure = Failure(fault=Fault.PLATFORM, reason=Reason.PLATFORM_FAILED, message=message)
            return life.fail_attempt(job, failure, self._clock())
