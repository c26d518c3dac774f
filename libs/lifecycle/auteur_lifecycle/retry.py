"""Retry: who pays for a failed attempt, and whether there is another one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts.resources import Failure, GenerationJobSpec, GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Reason

MAX_LOSSES = 5
"""Lost workers and evictions are nobody's fault and have a budget of their own."""
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=1)
_FINAL = frozenset({Reason.DEADLINE_EXCEEDED, Reason.INVALID_REQUEST, Reason.INPUT_FAILED})
"""Trying again would end the same way."""


@dataclass(frozen=True)
class TryAgain:
    at: datetime
    failures: int
    losses: int


@dataclass(frozen=True)
class GiveUp:
    failures: int
    losses: int


def after_failure(
    spec: GenerationJobSpec, status: GenerationJobStatus, failure: Failure, now: datetime
) -> TryAgain | GiveUp:
    if failure.fault is Fault.LOST:
        losses = status.losses + 1
        if losses > MAX_LOSSES:
            return GiveUp(status.failures, losses)
        return TryAgain(now, status.failures, losses)
    failures = status.failures + 1
    if failure.fault is Fault.USER or failure.reason in _FINAL or failures > spec.retries:
        return GiveUp(failures, status.losses)
    return TryAgain(now + min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE), failures, status.losses)
