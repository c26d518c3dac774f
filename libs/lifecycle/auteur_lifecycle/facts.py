"""Facts: what happened between two statuses, to be said after the second one was written."""

from datetime import datetime

from auteur_contracts import names
from auteur_contracts.events import (
    Accepted,
    Cancelled,
    DecidedFact,
    Dispatched,
    Envelope,
    Failed,
    Queued,
    Rejected,
    Succeeded,
)
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Phase


def facts_between(old: GenerationJobStatus, new: GenerationJobStatus, version: int) -> tuple[DecidedFact, ...]:
    """In the order they happened. Two equal statuses have no facts between them."""
    said: list[type[DecidedFact]] = []
    if new.is_true(ConditionType.ACCEPTED) and not old.is_true(ConditionType.ACCEPTED):
        said.append(Accepted)
    if _waiting(new) and _waiting(new) != _waiting(old):
        said.append(Queued)
    if new.dispatched and new.attempt > old.attempt:
        said.append(Dispatched)
    if new.finished and not old.finished:
        said.append(_ending(new))
    return tuple(kind(attempt=new.attempt, version=version, status=new) for kind in said)


def _waiting(status: GenerationJobStatus) -> str:
    held = status.condition(ConditionType.DISPATCHED)
    waits = held is not None and held.status is ConditionStatus.FALSE and not status.finished
    return f"{held.reason}/{status.attempt}" if held is not None and waits else ""


def _ending(status: GenerationJobStatus) -> type[DecidedFact]:
    if not status.is_true(ConditionType.ACCEPTED) and status.attempt == 0 and status.plan is None:
        return Cancelled if status.view.phase is Phase.CANCELLED else Rejected
    match status.view.phase:
        case Phase.SUCCEEDED:
            return Succeeded
        case Phase.CANCELLED:
            return Cancelled
        case _:
            return Failed


def envelope(job: GenerationJob, fact: DecidedFact, *, source: str, now: datetime) -> Envelope:
    """Its id depends on uid, attempt, fact and, for the one that may repeat, the version: replays are dropped, but not
    the second wait of a job that was suspended and resumed.
    """
    meta = job.metadata
    discriminator = str(fact.version) if isinstance(fact, Queued) else ""
    return Envelope(
        id=names.event_id(meta.uid, fact.attempt, fact.fact.value, discriminator),
        source=source,
        time=now,
        namespace=meta.namespace,
        project=job.spec.project,
        name=meta.name,
        uid=meta.uid,
        request_id=meta.annotations.get(names.ANNOTATION_REQUEST_ID, ""),
        node_id=meta.annotations.get(names.ANNOTATION_NODE_ID, ""),
        data=fact,
    )
