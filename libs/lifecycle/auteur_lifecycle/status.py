"""Every way a job's status can change, each a pure function of the job and what was seen.

No function here leads out of a finished state; attempts only grow; what an older attempt says changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts import names
from auteur_contracts.catalogue import Platform
from auteur_contracts.orders import ClaimRequest, Outcome, RefusalReason, Report
from auteur_contracts.quantities import MAX_OUTPUTS, MAX_WARNINGS
from auteur_contracts.resources import (
    Condition,
    Failure,
    FunctionRunner,
    GenerationJob,
    GenerationJobStatus,
    Plan,
    Progress,
    derive_phase,
)
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Fault, Phase, Reason
from auteur_lifecycle.capabilities import ONE_MACHINE
from auteur_lifecycle.cost import add, cost_of
from auteur_lifecycle.gate import Doomed, Lookup, Open, Waits, gate
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.resolve import resolve
from auteur_lifecycle.retry import GiveUp, TryAgain, after_failure

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
DEADLINE_GRACE = timedelta(minutes=5)
"""The agent enforces the deadline; this long after it, the platform does. Longer than an agent may take around a run
that ended in time: to learn that its claim was granted (2 min) and to store what was made (2 min).
"""


# ── the one step every change is made of ──────────────────────────────────────────────────────────────────────────────


def _change(
    job: GenerationJob,
    now: datetime,
    *conditions: tuple[ConditionType, ConditionStatus, Reason, str],
    **fields: object,
) -> GenerationJobStatus:
    """Sets conditions (their time moves only when their status does), then derives the phase last."""
    known = {condition.type: condition for condition in job.status.conditions}
    for kind, value, reason, message in conditions:
        before = known.get(kind)
        since = before.last_transition_time if before and before.status is value else now
        known[kind] = Condition(
            type=kind,
            status=value,
            reason=reason,
            message=message[:2048],
            last_transition_time=since,
            observed_generation=job.metadata.generation,
        )
    ordered = tuple(known[kind] for kind in ConditionType if kind in known)
    changed = job.status.model_copy(
        update={"conditions": ordered, "observed_generation": job.metadata.generation, **fields}
    )
    return changed.model_copy(update={"phase": derive_phase(changed)})


# ── before the first attempt ──────────────────────────────────────────────────────────────────────────────────────────


def accept(job: GenerationJob, plan: Plan, now: datetime) -> GenerationJobStatus:
    planned = f"Planned: {plan.function} by {plan.runner}, {plan.tier.pipeline}."
    return _change(
        job,
        now,
        (ConditionType.ACCEPTED, _TRUE, Reason.RESOLVED, planned),
        (ConditionType.FINISHED, _FALSE, Reason.IN_PROGRESS, ""),
        plan=plan,
    )


def refuse(job: GenerationJob, refusal: Refusal, now: datetime) -> GenerationJobStatus:
    failure = _failure(Fault.USER, refusal.reason, refusal.message, refusal.remedy)
    return _change(
        job,
        now,
        (ConditionType.ACCEPTED, _FALSE, refusal.reason, refusal.text),
        (ConditionType.FINISHED, _TRUE, refusal.reason, refusal.text),
        (ConditionType.SUCCEEDED, _FALSE, refusal.reason, refusal.text),
        failure=failure,
        completion_time=now,
    )


def wait(job: GenerationJob, reason: Reason, message: str, now: datetime) -> GenerationJobStatus:
    held = job.status.condition(ConditionType.DISPATCHED)
    if held and held.status is _FALSE and held.reason is reason and held.message == message:
        return job.status
    return _change(job, now, (ConditionType.DISPATCHED, _FALSE, reason, message))


def stall(job: GenerationJob, why: str, now: datetime) -> GenerationJobStatus:
    """Deciding about the job fails again and again, by a fault of ours."""
    told = f"It cannot be looked after, by a fault of Auteur: {why}. It is tried again; tell its maintainers."
    return (
        job.status
        if job.status.finished
        else _change(job, now, (ConditionType.STALLED, _TRUE, Reason.PLATFORM_FAILED, told))
    )


def recover(job: GenerationJob) -> GenerationJobStatus:
    """Deciding about it works (again)."""
    if job.status.condition(ConditionType.STALLED) is None:
        return job.status
    kept = tuple(held for held in job.status.conditions if held.type is not ConditionType.STALLED)
    return job.status.model_copy(update={"conditions": kept})


# ── one attempt ───────────────────────────────────────────────────────────────────────────────────────────────────────


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
    return _change(
        job,
        now,
        (ConditionType.DISPATCHED, _TRUE, why, message),
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
    return _release(job, Reason.RUNNER_NOT_READY, why, now)


def hold_up(job: GenerationJob, reason: Reason, message: str, now: datetime) -> GenerationJobStatus:
    """Why an attempt that was dispatched does not run yet: nothing is decided by it."""
    status = job.status
    held = status.condition(ConditionType.RUNNING)
    if status.finished or not status.dispatched or status.running:
        return status
    if held is not None and held.reason is reason and held.message == message[:2048]:
        return status
    return _change(job, now, (ConditionType.RUNNING, _FALSE, reason, message))


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
            return InputsGone(_fail(job, _failure(Fault.USER, Reason.INPUT_FAILED, message), now))
        case Waits(reason, message):
            return InputsGone(_release(job, reason, message, now))
    granted = _change(
        job,
        now,
        (ConditionType.RUNNING, _TRUE, Reason.CLAIMED, f"Attempt {status.attempt} runs on {request.worker}."),
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
    return _change(
        job,
        now,
        (ConditionType.RUNNING, _TRUE, Reason.CLAIMED, told),
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
    if (misplaced := _misplaced(job, said)) is not None:
        return fail_attempt(_paid(job, said), misplaced, now)
    match said.outcome:
        case Outcome.SUCCEEDED:
            return _succeed(job, said, now)
        case Outcome.HANDED_BACK:
            message = "The worker shut down and handed the attempt back."
            return _release(_paid(job, said), Reason.WAITING_FOR_WORKER, message, now)
        case Outcome.CANCELLED:
            return _finish_cancelled(_paid(job, said), now, job.status.cancelled_by)
        case Outcome.FAILED:
            failure = said.failure or _failure(
                Fault.PLATFORM, Reason.RESULT_MISSING, "The worker reported a failure without a cause."
            )
            return fail_attempt(_paid(job, said), failure, now)


def _misplaced(job: GenerationJob, said: Report) -> Failure | None:
    """Outputs must lie under the attempt's own prefix."""
    own = names.AttemptPrefix(job.metadata.namespace, job.spec.project, job.metadata.uid, said.attempt)
    for output in said.outputs:
        try:
            _, key = names.parse_s3_uri(output.uri)
        except ValueError:
            key = ""
        if names.AttemptPrefix.parse(key) != own:
            told = f"Output {output.name} was reported outside of its attempt's storage."
            return _failure(Fault.PLATFORM, Reason.RESULT_MISSING, told)
    return None


def _failure(fault: Fault, reason: Reason, message: str, remedy: str = "") -> Failure:
    """Messages quote what people wrote: shortened here, or a long one would make a status that cannot be read back."""
    return Failure(fault=fault, reason=reason, message=message[:2048], remedy=remedy[:1024])


def _paid(job: GenerationJob, said: Report) -> GenerationJob:
    return _paid_for(job, said.metrics.get("run_seconds", 0.0))


def _paid_until(job: GenerationJob, now: datetime) -> GenerationJob:
    """For an attempt that ends without a report: the worker was taken from its claim until now."""
    began = job.status.start_time
    return job if began is None or not job.status.running else _paid_for(job, (now - began).total_seconds())


def _paid_for(job: GenerationJob, seconds: float) -> GenerationJob:
    if job.status.plan is None:
        return job
    cost = add(job.status.cost, cost_of(job.status.plan, seconds))
    return _with(job, job.status.model_copy(update={"cost": cost}))


def _with(job: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
    return job.model_copy(update={"status": status})


def _succeed(job: GenerationJob, said: Report, now: datetime) -> GenerationJobStatus:
    paid = _paid(job, said)
    if len(said.outputs) > MAX_OUTPUTS:
        message = f"The function made {len(said.outputs)} outputs; a job holds {MAX_OUTPUTS}."
        return fail_attempt(paid, _failure(Fault.FUNCTION, Reason.FUNCTION_FAILED, message), now)
    last = job.status.progress or Progress(phase="done")
    made = f"Made {len(said.outputs)} output{'' if len(said.outputs) == 1 else 's'}."
    return _change(
        paid,
        now,
        (ConditionType.DISPATCHED, _FALSE, Reason.OUTPUTS_COMMITTED, ""),
        (ConditionType.RUNNING, _FALSE, Reason.OUTPUTS_COMMITTED, ""),
        (ConditionType.FINISHED, _TRUE, Reason.OUTPUTS_COMMITTED, made),
        (ConditionType.SUCCEEDED, _TRUE, Reason.OUTPUTS_COMMITTED, made),
        outputs=said.outputs,
        warnings=said.warnings[:MAX_WARNINGS],
        failure=None,
        progress=last.model_copy(update={"fraction": 1.0, "eta_seconds": None}),
        completion_time=now,
    )


def fail_attempt(job: GenerationJob, failure: Failure, now: datetime) -> GenerationJobStatus:
    """An attempt ended badly: another one, or the end."""
    match after_failure(job.spec, job.status, failure, now):
        case TryAgain(at, failures, losses):
            counted = _with(
                job,
                job.status.model_copy(
                    update={"failures": failures, "losses": losses, "retry_at": at, "failure": failure}
                ),
            )
            return _release(counted, Reason.WAITING_TO_RETRY, f"{failure.message} Tried again soon.", now)
        case GiveUp(failures, losses):
            counted = _with(job, job.status.model_copy(update={"failures": failures, "losses": losses}))
            return _fail(counted, failure, now)


def _release(job: GenerationJob, reason: Reason, message: str, now: datetime) -> GenerationJobStatus:
    """Back to waiting. The attempt's number stays, so its late words are stale once the next one is dispatched."""
    return _change(
        job,
        now,
        (ConditionType.DISPATCHED, _FALSE, reason, message),
        (ConditionType.RUNNING, _FALSE, reason, message),
        claim="",
        worker="",
        progress=None,
    )


def _fail(job: GenerationJob, failure: Failure, now: datetime) -> GenerationJobStatus:
    message = f"{failure.message} {failure.remedy}".strip()
    return _change(
        job,
        now,
        (ConditionType.DISPATCHED, _FALSE, failure.reason, ""),
        (ConditionType.RUNNING, _FALSE, failure.reason, ""),
        (ConditionType.FINISHED, _TRUE, failure.reason, message),
        (ConditionType.SUCCEEDED, _FALSE, failure.reason, message),
        failure=failure,
        retry_at=None,
        completion_time=now,
    )


def lose(job: GenerationJob, attempt: int, now: datetime) -> GenerationJobStatus:
    """The worker of this attempt is not heard any more."""
    if not is_current(job, attempt):
        return job.status
    told = f"Worker {job.status.worker} was lost during attempt {attempt}."
    return end_attempt(job, attempt, _failure(Fault.LOST, Reason.WORKER_LOST, told), now)


def end_attempt(job: GenerationJob, attempt: int, failure: Failure, now: datetime) -> GenerationJobStatus:
    """This attempt ended without a report of its own, claimed or not."""
    status = job.status
    if status.finished or status.attempt != attempt or not (status.dispatched or status.running):
        return status
    return fail_attempt(_paid_until(job, now), failure, now)


def cancel(job: GenerationJob, by: str, now: datetime) -> GenerationJobStatus:
    return job.status if job.status.finished else _finish_cancelled(_paid_until(job, now), now, by)


def _finish_cancelled(job: GenerationJob, now: datetime, by: str) -> GenerationJobStatus:
    message = f"Cancelled by {by}." if by else "Cancelled."
    return _change(
        job,
        now,
        (ConditionType.DISPATCHED, _FALSE, Reason.CANCELLED, ""),
        (ConditionType.RUNNING, _FALSE, Reason.CANCELLED, ""),
        (ConditionType.FINISHED, _TRUE, Reason.CANCELLED, message),
        (ConditionType.SUCCEEDED, _FALSE, Reason.CANCELLED, message),
        cancelled_by=by,
        failure=None,
        retry_at=None,
        completion_time=now,
    )


# ── decide once ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Seen:
    """Everything outside of the job that its next status depends on."""

    catalogue: Sequence[FunctionRunner]
    lookup: Lookup
    worker_silent: bool = False
    bucket: str = ""
    platform: Platform = ONE_MACHINE


def next_status(job: GenerationJob, seen: Seen, now: datetime) -> GenerationJobStatus:
    """What is true of the job now. Asked twice it answers the same; only `dispatch`, `claim` and `report` come from
    elsewhere, because they need a worker.
    """
    status = job.status
    if status.finished:
        return status
    if job.spec.cancel:
        by = job.metadata.annotations.get(names.ANNOTATION_CANCELLED_BY, "") or status.cancelled_by
        return cancel(job, by[:128], now)
    if status.plan is None:
        resolved = resolve(job, seen.catalogue, platform=seen.platform, bucket=seen.bucket)
        if isinstance(resolved, Refusal):
            return refuse(job, resolved, now)
        job = _with(job, accept(job, resolved, now))
        status = job.status
    if status.running:
        status = _while_running(job, seen, now)
        if status.running or status.finished:
            return status
        job = _with(job, status)
    if _was_resumed(job):
        job = _with(job, status.model_copy(update={"resume_time": now}))
    if status.dispatched and not job.spec.suspend:
        return _start_deadline(job, now) or status
    return _start_deadline(job, now) or _while_waiting(job, seen, now)


def _while_running(job: GenerationJob, seen: Seen, now: datetime) -> GenerationJobStatus:
    status = job.status
    if seen.worker_silent:
        return lose(job, status.attempt, now)
    if job.spec.suspend:
        return _release(_paid_until(job, now), Reason.SUSPENDED, "", now)
    if status.start_time and now > status.start_time + job.spec.deadline + DEADLINE_GRACE:
        failure = _failure(
            Fault.FUNCTION,
            Reason.DEADLINE_EXCEEDED,
            f"Attempt {status.attempt} did not end within its deadline.",
            "Raise spec.deadline, or ask for less.",
        )
        return fail_attempt(_paid_until(job, now), failure, now)
    return status


def _was_resumed(job: GenerationJob) -> bool:
    held = job.status.condition(ConditionType.DISPATCHED)
    return held is not None and held.reason is Reason.SUSPENDED and not job.spec.suspend


def starts_by(job: GenerationJob) -> datetime | None:
    """Until when its first attempt must run; None for a job that ran already, or is suspended."""
    created = job.metadata.creation_timestamp
    if job.status.start_time or created is None or job.spec.suspend:
        return None
    return max(created, job.status.resume_time or created) + job.spec.start_deadline


def look_again_at(job: GenerationJob) -> datetime | None:
    """When something becomes true of the job without an event: a retry, a deadline, a start deadline."""
    status = job.status
    if status.finished:
        return None
    due: list[datetime] = []
    if status.retry_at is not None and not status.dispatched:
        due.append(status.retry_at)
    if status.running and status.start_time is not None:
        due.append(status.start_time + job.spec.deadline + DEADLINE_GRACE)
    elif (until := starts_by(job)) is not None:
        due.append(until)
    return min(due, default=None)


def _start_deadline(job: GenerationJob, now: datetime) -> GenerationJobStatus | None:
    until = starts_by(job)
    if until is None or now <= until:
        return None
    waited, remedy = _what_it_waited_for(job.status)
    message = f"It did not start within spec.startDeadline. {waited}".strip()
    return _fail(job, _failure(Fault.PLATFORM, Reason.START_DEADLINE_EXCEEDED, message, remedy), now)


def _what_it_waited_for(status: GenerationJobStatus) -> tuple[str, str]:
    """Said with what may help."""
    held_up = status.condition(ConditionType.RUNNING)
    if status.dispatched and held_up is not None and held_up.message:  # its pod could not begin, and that says more
        return held_up.message, "Raise spec.startDeadline if it only takes longer."
    held = status.condition(ConditionType.DISPATCHED)
    if held is None:
        return "", ""
    if held.reason is Reason.WAITING_FOR_INPUTS:
        return held.message, "Look at the jobs it waits for, or name others."
    return held.message, "Raise it, or ask for another quality or runner."


def _while_waiting(job: GenerationJob, seen: Seen, now: datetime) -> GenerationJobStatus:
    match gate(job, seen.lookup, now):
        case Doomed(message):
            return _fail(job, _failure(Fault.USER, Reason.INPUT_FAILED, message), now)
        case Waits(reason, message):
            return wait(job, reason, message, now)
        case Open():
            return wait(job, *_waits_for_worker(job, seen.catalogue), now)


def _waits_for_worker(job: GenerationJob, catalogue: Sequence[FunctionRunner]) -> tuple[Reason, str]:
    plan = job.status.plan
    runner = next((found for found in catalogue if plan and found.metadata.name == plan.runner), None)
    if runner is None or plan is None:
        return Reason.RUNNER_NOT_READY, "Its runner is not there (any more)."
    if runner.status.tier_ready(plan.tier.quality):
        return Reason.WAITING_FOR_WORKER, f"Waits for a free worker of {plan.runner}."
    why = next((tier.message for tier in runner.status.tiers if tier.quality is plan.tier.quality and tier.message), "")
    return Reason.RUNNER_NOT_READY, f"{plan.runner} is not ready: {why or runner.status.message or 'it starts'}"


def ready_for_worker(job: GenerationJob) -> bool:
    """Whether the job waits for nothing but a worker."""
    held = job.status.condition(ConditionType.DISPATCHED)
    return (
        not job.status.finished
        and held is not None
        and held.status is _FALSE
        and held.reason in (Reason.WAITING_FOR_WORKER, Reason.RUNNER_NOT_READY)
    )
