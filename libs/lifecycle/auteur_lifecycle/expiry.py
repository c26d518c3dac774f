"""Expiry: when a finished job's resource may be deleted. Its outputs stay."""

from collections.abc import Collection
from datetime import datetime, timedelta

from auteur_contracts.resources import GenerationJob


def expires_at(job: GenerationJob) -> datetime | None:
    """None while it must stay: not finished, or not archived."""
    status = job.status
    if not status.finished or status.archived_time is None or status.completion_time is None:
        return None
    return status.completion_time + timedelta(seconds=job.spec.ttl_seconds_after_finished)


def may_delete(job: GenerationJob, needed: Collection[str], now: datetime) -> bool:
    """`needed`: names that unfinished jobs of the namespace wait for."""
    due = expires_at(job)
    return due is not None and now >= due and job.metadata.name not in needed


def needs(job: GenerationJob) -> set[str]:
    """The jobs that this one's inputs and parameters come from."""
    inputs = {item.from_.job for item in job.spec.inputs if item.from_}
    return inputs | {item.job for item in job.spec.params_from}
