"""What became of a job, as spans: measured by its own times, recorded after the write that ended them. Free while
telemetry is off.
"""

from datetime import datetime

from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType
from auteur_kit import telemetry, trace


def record_transition(before: GenerationJobStatus, job: GenerationJob) -> None:
    """The job's wait until an attempt was dispatched, and the whole job when it is finished."""
    status, meta = job.status, job.metadata
    if meta.creation_timestamp is None:
        return
    attributes = telemetry.job_attributes(meta.namespace, meta.name, meta.uid, status.attempt)
    if status.dispatched and status.attempt > before.attempt and status.dispatch_time is not None:
        since = waiting_since(before, meta.creation_timestamp)
        until = max(since, status.dispatch_time)
        telemetry.record("queued", parent=trace.parent_of(job), start=since, end=until, error="", **attributes)
    if status.finished and not before.finished and status.completion_time is not None:
        telemetry.record(
            f"job {job.spec.function}",
            parent=trace.parent_of(job),
            start=meta.creation_timestamp,
            end=status.completion_time,
            error=status.failure.message if status.failure else "",
            **attributes,
        )


def waiting_since(status: GenerationJobStatus, created: datetime) -> datetime:
    """When the wait of a job that is not dispatched began: at its creation, at the end of the pause before a retry, or
    when its last attempt was taken from it.
    """
    held = status.condition(ConditionType.DISPATCHED)
    return status.retry_at or (held.last_transition_time if held else created)
