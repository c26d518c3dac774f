"""Gate: may a planned job be dispatched now, must it wait, or can it never run?"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from auteur_contracts.resources import GenerationJob, Output, PlannedInput
from auteur_contracts.vocabulary import Phase, Reason

Lookup = Callable[[str], GenerationJob | None]
"""A job of the same namespace by name, finished ones included; None when there is none."""


@dataclass(frozen=True)
class Open:
    """Nothing but a worker is missing."""


@dataclass(frozen=True)
class Waits:
    reason: Reason
    message: str


@dataclass(frozen=True)
class Doomed:
    """An input can never be: the job fails, saying which."""

    message: str


def gate(job: GenerationJob, lookup: Lookup, now: datetime) -> Open | Waits | Doomed:
    status = job.status
    if job.spec.suspend:
        return Waits(Reason.SUSPENDED, "Suspended: set spec.suspend to false to let it run.")
    waiting_for: list[str] = []
    for planned in status.plan.inputs if status.plan else ():
        if planned.job:
            source = lookup(planned.job)
            if source is None and status.attempt:
                return Doomed(f'Input "{planned.name}": job {planned.job} was there and has been deleted.')
            match input_of(planned, source):
                case Doomed() as doomed:
                    return doomed
                case None:
                    waiting_for.append(planned.job)
    if waiting_for:
        return Waits(Reason.WAITING_FOR_INPUTS, f"Waits for {', '.join(waiting_for)}.")
    if status.retry_at is not None and now < status.retry_at:
        why = status.failure.message if status.failure else ""
        return Waits(Reason.WAITING_TO_RETRY, f"Attempt {status.attempt} failed, tried again soon. {why}".strip())
    return Open()


def input_of(planned: PlannedInput, source: GenerationJob | None) -> Output | Doomed | None:
    """The output that an input names; None while its job is not finished (or not there yet)."""
    if source is None or not source.status.finished:
        return None
    outcome = source.status.view.phase
    if outcome is not Phase.SUCCEEDED:
        return Doomed(f'Input "{planned.name}": job {planned.job} is {outcome.value}.')
    outputs = source.status.outputs
    if planned.output is None:
        if len(outputs) == 1:
            return outputs[0]
        known = ", ".join(output.name for output in outputs) or "none"
        return Doomed(f'Input "{planned.name}": say which output of {planned.job} is meant: {known}.')
    found = next((output for output in outputs if output.name == planned.output), None)
    return found or Doomed(f'Input "{planned.name}": job {planned.job} made no {planned.output}.')
