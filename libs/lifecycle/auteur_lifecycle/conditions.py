"""The one step that every change of a status is made of."""

from datetime import datetime

from auteur_contracts.resources import Condition, Failure, GenerationJob, GenerationJobStatus, derive_phase
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Fault, Reason

TRUE, FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE


def change(
    job: GenerationJob,
    now: datetime,
    *conditions: tuple[ConditionType, ConditionStatus, Reason, str],
    **fields: object,
) -> GenerationJobStatus:
    """Sets conditions (their time moves only when their status does), then derives the phase last. Of a finished job
    nothing is changed: no decision leads out of there. Conditions of types we do not know stay, behind ours.
    """
    if job.status.finished:
        return job.status
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
    ordered = {kind: known[kind] for kind in (*ConditionType, *known) if kind in known}
    changed = job.status.model_copy(
        update={"conditions": tuple(ordered.values()), "observed_generation": job.metadata.generation, **fields}
    )
    return with_phase(changed)


def with_phase(status: GenerationJobStatus) -> GenerationJobStatus:
    """With the phase that its conditions have, whatever somebody wrote there."""
    phase = derive_phase(status)
    return status if status.phase is phase else status.model_copy(update={"phase": phase})


def with_status(job: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
    return job.model_copy(update={"status": status})


def failure_of(fault: Fault, reason: Reason, message: str, remedy: str = "") -> Failure:
    """Messages quote what people wrote: shortened here, or a long one would make a status that cannot be read back."""
    return Failure(fault=fault, reason=reason, message=message[:2048], remedy=remedy[:1024])
