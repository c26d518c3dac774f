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


def with_status(job: GenerationJob, status: GenerationJobStatus) -> GenerationJob:
    return job.model_copy(update={"status": status})


def failure_of(fault: Fault, reason: Reason, message: str, remedy: str = "") -> Failure:
    """Messages quote what people wrote: shortened here, or a long one would make a status that cannot be read back."""
    return Failure(fault=fault, reason=reason, message=message[:2048], remedy=remedy[:1024])
