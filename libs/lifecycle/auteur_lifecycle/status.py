"""Every way a job's status can change, each a pure function of the job and what was seen: here what is decided by
looking, beside it how attempts go (`attempts`) and how jobs end (`endings`).

No function here leads out of a finished state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts import names
from auteur_contracts.catalogue import Platform
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus, Plan
from auteur_contracts.vocabulary import ConditionType, Fault, Reason
from auteur_lifecycle.attempts import (
    ClaimGranted,
    InputsGone,
    cancel,
    claim,
    dispatch,
    end_attempt,
    fail_attempt,
    has_run,
    hold_up,
    is_current,
    lose,
    paid_until,
    progress,
    release,
    report,
    withdraw,
)
from auteur_lifecycle.capabilities import ONE_MACHINE, unknown
from auteur_lifecycle.conditions import FALSE, TRUE, change, failure_of, with_status
from auteur_lifecycle.endings import fail, refuse
from auteur_lifecycle.gate import Doomed, Lookup, Open, Waits, gate
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.resolve import resolve

__all__ = [
    "ClaimGranted",
    "InputsGone",
    "Seen",
    "accept",
    "cancel",
    "claim",
    "dispatch",
    "end_attempt",
    "fail_attempt",
    "has_begun",
    "has_run",
    "hold_back",
    "hold_up",
    "is_current",
    "look_again_at",
    "lose",
    "next_status",
    "paid_until",
    "progress",
    "ready_for_worker",
    "recover",
    "refuse",
    "report",
    "stall",
    "starts_by",
    "wait",
    "withdraw",
]
DEADLINE_GRACE = timedelta(minutes=5)
"""The agent enforces the deadline; this long after it, the platform does. Longer than an agent may take around a run
that ended in time: to learn that its claim was granted (2 min) and to store what was made (2 min).
"""


def accept(job: GenerationJob, plan: Plan, now: datetime) -> GenerationJobStatus:
    """One that was held back until now has not waited yet."""
    planned = f"Planned: {plan.function} by {plan.runner}, {plan.tier.pipeline}."
    return change(
        job,
        now,
        (ConditionType.ACCEPTED, TRUE, Reason.RESOLVED, planned),
        (ConditionType.FINISHED, FALSE, Reason.IN_PROGRESS, ""),
        plan=plan,
        resume_time=now if is_held_back(job.status) else job.status.resume_time,
    )


def hold_back(job: GenerationJob, why: Refusal, now: datetime) -> GenerationJobStatus:
    """This version cannot do what is asked for, and another one may: nothing of it begins, and nothing ends."""
    held = job.status.condition(ConditionType.ACCEPTED)
    if held and held.status is FALSE and held.reason is why.reason and held.message == why.text[:2048]:
        return job.status
    taken_back = [(ConditionType.DISPATCHED, FALSE, why.reason, "")] if job.status.dispatched else []
    return change(job, now, (ConditionType.ACCEPTED, FALSE, why.reason, why.text), *taken_back)


def is_held_back(status: GenerationJobStatus) -> bool:
    held = status.condition(ConditionType.ACCEPTED)
    return held is not None and held.status is FALSE and not status.finished


def has_begun(status: GenerationJobStatus) -> bool:
    """Whether an attempt is under way, or may be."""
    return status.dispatched or status.running


def wait(job: GenerationJob, reason: Reason, message: str, now: datetime) -> GenerationJobStatus:
    held = job.status.condition(ConditionType.DISPATCHED)
    if held and held.status is FALSE and held.reason is reason and held.message == message:
        return job.status
    return change(job, now, (ConditionType.DISPATCHED, FALSE, reason, message))


def stall(job: GenerationJob, why: str, now: datetime) -> GenerationJobStatus:
    """Deciding about the job fails again and again, by a fault of ours."""
    told = f"It cannot be looked after, by a fault of Auteur: {why}. It is tried again; tell its maintainers."
    return (
        job.status
        if job.status.finished
        else change(job, now, (ConditionType.STALLED, TRUE, Reason.PLATFORM_FAILED, told))
    )


def recover(job: GenerationJob) -> GenerationJobStatus:
    """Deciding about it works (again)."""
    if job.status.condition(ConditionType.STALLED) is None:
        return job.status
    kept = tuple(held for held in job.status.conditions if held.type is not ConditionType.STALLED)
    return job.status.model_copy(update={"conditions": kept})


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
    if status.running:
        status = _while_running(job, seen, now)
        if status.running or status.finished:
            return status
        job = with_status(job, status)
    if status.dispatched and not job.spec.suspend:
        return _start_deadline(job, now) or status
    if (foreign := unknown(job)) is not None:
        return hold_back(job, foreign, now)
    if not status.is_true(ConditionType.ACCEPTED):
        resolved = status.plan or resolve(job, seen.catalogue, platform=seen.platform, bucket=seen.bucket)
        if isinstance(resolved, Refusal):
            return refuse(job, resolved, now)
        job = with_status(job, accept(job, resolved, now))
    if _was_resumed(job):
        job = with_status(job, job.status.model_copy(update={"resume_time": now}))
    return _start_deadline(job, now) or _while_waiting(job, seen, now)


def _while_running(job: GenerationJob, seen: Seen, now: datetime) -> GenerationJobStatus:
    status = job.status
    if seen.worker_silent:
        return lose(job, status.attempt, now)
    if job.spec.suspend:
        return release(paid_until(job, now), Reason.SUSPENDED, "", now)
    if status.start_time and now > status.start_time + job.spec.deadline + DEADLINE_GRACE:
        failure = failure_of(
            Fault.FUNCTION,
            Reason.DEADLINE_EXCEEDED,
            f"Attempt {status.attempt} did not end within its deadline.",
            "Raise spec.deadline, or ask for less.",
        )
        return fail_attempt(paid_until(job, now), failure, now)
    return status


def _was_resumed(job: GenerationJob) -> bool:
    held = job.status.condition(ConditionType.DISPATCHED)
    return held is not None and held.reason is Reason.SUSPENDED and not job.spec.suspend


def starts_by(job: GenerationJob) -> datetime | None:
    """Until when its first attempt must run; None for a job that ran already, is suspended or held back."""
    created = job.metadata.creation_timestamp
    if job.status.start_time or created is None or job.spec.suspend or is_held_back(job.status):
        return None
    return max(created, job.status.resume_time or created) + job.spec.start_deadline


def look_again_at(job: GenerationJob) -> datetime | None:
    """When something becomes true of the job without an event: a retry, a deadline, a start deadline."""
    status = job.status
    if status.finished or (is_held_back(status) and not has_begun(status)):
        return None
    due: list[datetime] = []
    held = status.condition(ConditionType.DISPATCHED)
    if status.retry_at is not None and held is not None and held.reason is Reason.WAITING_TO_RETRY:
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
    return fail(job, failure_of(Fault.PLATFORM, Reason.START_DEADLINE_EXCEEDED, message, remedy), now)


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
            return fail(job, failure_of(Fault.USER, Reason.INPUT_FAILED, message), now)
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
        and job.status.is_true(ConditionType.ACCEPTED)
        and held is not None
        and held.status is FALSE
        and held.reason in (Reason.WAITING_FOR_WORKER, Reason.RUNNER_NOT_READY)
    )
