"""Expiry: when a finished job's resource may be deleted, and what holds it until then. Its outputs stay."""

from datetime import datetime, timedelta

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob, GenerationJobStatus

_ARCHIVE = (names.HOLD_ARCHIVE,)


def holds_on(job: GenerationJob, usual: tuple[str, ...] = _ARCHIVE) -> tuple[str, ...]:
    """What keeps a finished job, by name. `usual`: where its status, by an older version, says nothing of it."""
    status = job.status
    if not status.finished or status.archived_time is not None:
        return ()
    return usual if status.holds is None else status.holds


def is_released(job: GenerationJob, usual: tuple[str, ...] = _ARCHIVE) -> bool:
    """Finished, and nothing holds it."""
    return job.status.finished and not holds_on(job, usual)


def was_released(job: GenerationJob) -> bool:
    """Whether its last hold was taken away: all who need it have said so. Where there never was one nobody has, and who
    looks for what may have been missed is still told of the job.
    """
    return job.status.finished and job.status.archived_time is not None


def expires_at(job: GenerationJob, usual: tuple[str, ...] = _ARCHIVE) -> datetime | None:
    """None while it must stay."""
    ended = job.status.completion_time
    if ended is None or not is_released(job, usual):
        return None
    return ended + timedelta(seconds=job.spec.ttl_seconds_after_finished)


def release(job: GenerationJob, hold: str, now: datetime) -> GenerationJobStatus:
    """Unchanged where the hold is not on it, so that a release may be said twice."""
    held = holds_on(job)
    if hold not in held:
        return job.status
    left = tuple(name for name in held if name != hold)
    return job.status.model_copy(update={"holds": left, "archived_time": None if left else now})


def needs(job: GenerationJob) -> set[str]:
    """The jobs that this one's inputs and parameters come from."""
    inputs = {item.from_.job for item in job.spec.inputs if item.from_}
    return inputs | {item.job for item in job.spec.params_from}
