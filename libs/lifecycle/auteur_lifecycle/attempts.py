"""One attempt, from its dispatch to its end: attempts only grow, and what an older one says changes nothing."""

from dataclasses import dataclass
from datetime import datetime

from auteur_contracts import names
from auteur_contracts.orders import ClaimRequest, Outcome, RefusalReason, Report
from auteur_contracts.quantities import MAX_OUTPUTS
from auteur_contracts.resources import Failure, GenerationJob, GenerationJobStatus, Progress
from auteur_contracts.vocabulary import ConditionType, Fault, Phase, Reason
from auteur_lifecycle.conditions import FALSE, TRUE, change, failure_of, with_status
from auteur_lifecycle.cost import add, cost_of
from auteur_lifecycle.endings import fail, finish_cancelled, succeed
from auteur_lifecycle.gate import Doomed, Lookup, Waits, gate
from auteur_lifecycle.retry import GiveUp, TryAgain, after_failure


def dispatch(job: GenerationJob, now: datetime, *, pod: bool = False) -> GenerationJobStatus:
    """The next attempt gets its number; `pod`: one of its own, not a worker of the pool. A job that is dispatched,
    running or finished stays as it is.
    """
    status = job.status
    if status.finished or status.dispatched or status.plan is None:
        return status
    attempt = status.attempt + 1
    waits = f"Attempt {attempt} waits for a worker of {status.plan.pool}."
    made = f"Attempt {attempt} has a pod of its own, by Job {names.attempt_name(job.metadata.name, attempt)}."
    why, message = (Reason.POD_CREATED, made) if pod else (Reason.ORDERED, waits)
    return change(
        job,
        now,
        (ConditionType.DISPATCHED, TRUE, why, message),
        attempt=attempt,
        claim="",
        worker="",
        progress=None,
        queue=None,
        retry_at=None,
        dispatch_time=now,
    )


def withdraw(job: GenerationJob, why: str, now: datetime) -> GenerationJobStatus:
    """The order of an attempt that nobody has claimed is taken back: who claims it after all comes too late."""
    status = job.status
    if status.finished or not status.dispatched or status.running:
        return status
    return release(job, Reason.RUNNER_NOT_READY, why, now)


def hold_up(job: GenerationJob, reason: Reason, message: str, now: datetime) -> GenerationJobStatus:
    """Why an attempt that was dispatched does not run yet: nothing is decided by it."""
    status = job.status
    held = status.condition(ConditionType.RUNNING)
    if status.finished or not status.dispatched or status.running:
        return status
    if held is not None and held.reason is reason and held.message == message[:2048]:
        return status
    return change(job, now, (ConditionType.RUNNING, FALSE, reason, message))


@dataclass(frozen=True)
class ClaimGranted:
    status: GenerationJobStatus
    """Unchanged when this claim was granted before and its reply was lost."""


@dataclass(frozen=True)
class InputsGone:
    """What the job is made from was deleted since it was dispatched: nobody gets it."""

    status: GenerationJobStatus


def claim(
    job: GenerationJob | None, request: ClaimRequest, lookup: Lookup, now: datetime
) -> ClaimGranted | InputsGone | RefusalReason:
    """One attempt is one execution: of two claims for it at most one is ever granted."""
    if job is None or job.metadata.uid != request.uid:
        return RefusalReason.UNKNOWN
    status = job.status
    if status.finished or job.spec.cancel:
        cancelled = job.spec.cancel or status.view.phase is Phase.CANCELLED
        return RefusalReason.CANCELLED if cancelled else RefusalReason.FINISHED
    if request.attempt != status.attempt or not status.dispatched:
        return RefusalReason.STALE
    if status.claim:
        same = status.claim == request.nonce and status.worker == request.worker
        return ClaimGranted(status) if same else RefusalReason.CLAIMED
    match gate(job, lookup, now):
        case Doomed(message):
            return InputsGone(fail(job, failure_of(Fault.USER, Reason.INPUT_FAILED, message), now))
        case Waits(reason, message):
            return InputsGone(release(job, reason, message, now))
    granted = change(
        job,
        now,
        (ConditionType.RUNNING, TRUE, Reason.CLAIMED, f"Attempt {status.attempt} runs on {request.worker}."),
        claim=request.nonce,
        worker=request.worker,
        start_time=now,
        failure=None,  # of the attempt before
    )
    return ClaimGranted(granted)


def is_current(job: GenerationJob, attempt: int) -> bool:
    """Whether this attempt is the one that runs now."""
    return not job.status.finished and job.status.running and job.status.attempt == attempt


def has_run(job: GenerationJob, attempt: int, worker: str, since: datetime, now: datetime) -> GenerationJobStatus:
    """The attempt's own pod tells how it ended, and nobody saw its claim: the pod's name stands for the claim."""
    status = job.status
    if status.finished or not status.dispatched or status.attempt != attempt or status.running:
        return status
    told = f"Attempt {attempt} ran on {worker}."
    return change(
        job,
        now,
        (ConditionType.RUNNING, TRUE, Reason.CLAIMED, told),
        worker=worker[:128],
        start_time=since,
        failure=None,
    )


def progress(job: GenerationJob, attempt: int, seen: Progress) -> GenerationJobStatus:
    """Never backwards within an attempt."""
    before = job.status.progress
    if not is_current(job, attempt) or (before is not None and seen.fraction < before.fraction):
        return job.status
    if seen.preview_uri is None and before is not None and before.preview_uri is not None:
        seen = seen.model_copy(update={"preview_uri": before.preview_uri})
    return job.status.model_copy(update={"progress": seen})


def report(job: GenerationJob, said: Report, now: datetime) -> GenerationJobStatus:
    """The worker's last word. The caller has checked that it is the worker's."""
    if not is_current(job, said.attempt):
        return job.status
    if (why := _unacceptable(job, said)) is not None:
        return fail_attempt(paid(job, said), failure_of(Fault.PLATFORM, Reason.RESULT_MISSING, why), now)
    match said.outcome:
        case Outcome.SUCCEEDED:
            return _succeeded(paid(job, said), said, now)
        case Outcome.HANDED_BACK:
            message = "The worker shut down and handed the attempt back."
            return release(paid(job, said), Reason.WAITING_FOR_WORKER, message, now)
        case Outcome.CANCELLED:
            return finish_cancelled(paid(job, said), now, job.status.cancelled_by)
        case Outcome.FAILED:
            failure = said.failure or failure_of(
                Fault.PLATFORM, Reason.RESULT_MISSING, "The worker reported a failure without a cause."
            )
            return fail_attempt(paid(job, said), failure, now)


def _unacceptable(job: GenerationJob, said: Report) -> str | None:
    """Outputs have a name each, and lie under the attempt's own prefix."""
    own = names.AttemptPrefix(job.metadata.namespace, job.spec.project, job.metadata.uid, said.attempt)
    for output in said.outputs:
        try:
            _, key = names.parse_s3_uri(output.uri)
        except ValueError:
            key = ""
        if names.AttemptPrefix.parse(key) != own:
            return f"Output {output.name} was reported outside of its attempt's storage."
    called = [output.name for output in said.outputs]
    twice = next((name for name in called if called.count(name) > 1), None)
    return f"Two outputs were reported under the name {twice}." if twice else None


def paid(job: GenerationJob, said: Report) -> GenerationJob:
    return paid_for(job, said.metrics.get("run_seconds", 0.0))


def paid_until(job: GenerationJob, now: datetime) -> GenerationJob:
    """For an attempt that ends without a report: the worker was taken from its claim until now."""
    began = job.status.start_time
    return job if began is None or not job.status.running else paid_for(job, (now - began).total_seconds())


def paid_for(job: GenerationJob, seconds: float) -> GenerationJob:
    if job.status.plan is None or job.status.finished:
        return job
    cost = add(job.status.cost, cost_of(job.status.plan, seconds))
    return with_status(job, job.status.model_copy(update={"cost": cost}))


def _succeeded(job: GenerationJob, said: Report, now: datetime) -> GenerationJobStatus:
    if len(said.outputs) > MAX_OUTPUTS:
        message = f"The function made {len(said.outputs)} outputs; a job holds {MAX_OUTPUTS}."
        return fail_attempt(job, failure_of(Fault.FUNCTION, Reason.FUNCTION_FAILED, message), now)
    return succeed(job, said, now)


def fail_attempt(job: GenerationJob, failure: Failure, now: datetime) -> GenerationJobStatus:
    """An attempt ended badly: another one, or the end."""
    if job.status.finished:
        return job.status
    match after_failure(job.spec, job.status, failure, now):
        case TryAgain(at, failures, losses):
            counted = with_status(
                job,
                job.status.model_copy(
                    update={"failures": failures, "losses": losses, "retry_at": at, "failure": failure}
                ),
            )
            return release(counted, Reason.WAITING_TO_RETRY, f"{failure.message} Tried again soon.", now)
        case GiveUp(failures, losses):
            counted = with_status(job, job.status.model_copy(update={"failures": failures, "losses": losses}))
            return fail(counted, failure, now)


def release(job: GenerationJob, reason: Reason, message: str, now: datetime) -> GenerationJobStatus:
    """Back to waiting. The attempt's number stays, so its late words are stale once the next one is dispatched."""
    return change(
        job,
        now,
        (ConditionType.DISPATCHED, FALSE, reason, message),
        (ConditionType.RUNNING, FALSE, reason, message),
        claim="",
        worker="",
        progress=None,
    )


def lose(job: GenerationJob, attempt: int, now: datetime) -> GenerationJobStatus:
    """The worker of this attempt is not heard any more."""
    if not is_current(job, attempt):
        return job.status
    told = f"Worker {job.status.worker} was lost during attempt {attempt}."
    return end_attempt(job, attempt, failure_of(Fault.LOST, Reason.WORKER_LOST, told), now)


def end_attempt(job: GenerationJob, attempt: int, failure: Failure, now: datetime) -> GenerationJobStatus:
    """This attempt ended without a report of its own, claimed or not."""
    status = job.status
    if status.finished or status.attempt != attempt or not (status.dispatched or status.running):
        return status
    return fail_attempt(paid_until(job, now), failure, now)


def cancel(job: GenerationJob, by: str, now: datetime) -> GenerationJobStatus:
    return job.status if job.status.finished else finish_cancelled(paid_until(job, now), now, by)
