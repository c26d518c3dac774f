"""Workers' claims: one attempt is one execution, and a claim is answered when it is written."""

import time

from auteur_contracts.errors import NotFound
from auteur_contracts.orders import ClaimRefused, ClaimRequest, Grant, Heartbeat, RefusalReason, WorkerState
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Reason
from auteur_control.grants import Granter, refused
from auteur_control.reading import looked_up
from auteur_control.resources import JobResources
from auteur_kit.clock import Clock
from auteur_lifecycle import status as life
from auteur_lifecycle.conditions import failure_of
from auteur_lifecycle.endings import fail
from auteur_lifecycle.fleet import Fleet


class Claims:
    def __init__(self, jobs: JobResources, granter: Granter, fleet: Fleet, clock: Clock) -> None:
        self._jobs = jobs
        self._granter = granter
        self._fleet = fleet
        self._clock = clock

    async def answer(self, request: ClaimRequest) -> Grant | ClaimRefused:
        key = (request.namespace, request.name)
        lookup = looked_up(self._jobs, request.namespace)
        grant: Grant | None = None
        reason = RefusalReason.UNKNOWN

        def decide(job: GenerationJob) -> GenerationJobStatus:
            nonlocal grant, reason
            grant = None
            match life.claim(job, request, lookup, self._clock()):
                case RefusalReason() as refusal:
                    reason = refusal
                    return job.status
                case life.InputsGone(status):
                    reason = RefusalReason.STALE
                    return status
                case life.ClaimGranted(status):
                    # Links first: once the claim is written, the worker must get its answer.
                    try:
                        grant = self._granter.grant(job, request, lookup, self._clock())
                    except NotFound as error:
                        reason = RefusalReason.STALE
                        failure = failure_of(Fault.USER, Reason.INPUT_FAILED, error.message)
                        return fail(job, failure, self._clock())
                    return status

        async with self._jobs.hold(key):
            if await self._jobs.change(key, decide) is None:
                return refused(request, self._why_not(request))
        if grant is None:
            return refused(request, reason)
        self._hear(request, grant)
        return grant

    def _why_not(self, request: ClaimRequest) -> RefusalReason:
        """The reason to refuse a claim of a job that is not there, or finished."""
        found = self._jobs.find((request.namespace, request.name))
        judged = life.claim(found, request, looked_up(self._jobs, request.namespace), self._clock())
        return judged if isinstance(judged, RefusalReason) else RefusalReason.UNKNOWN

    def _hear(self, request: ClaimRequest, grant: Grant) -> None:
        """A claim is a sign of life: a worker that was never heard is silent from here on, not from the beginning."""
        if request.worker in self._fleet.workers:
            self._fleet.occupy(request.worker, request.uid, request.attempt)
            return
        beat = Heartbeat(
            worker=request.worker,
            pool=grant.plan.pool,
            runner=grant.plan.runner,
            state=WorkerState.BUSY,
            uid=request.uid,
            attempt=request.attempt,
        )
        self._fleet.hear(beat, time.monotonic())
