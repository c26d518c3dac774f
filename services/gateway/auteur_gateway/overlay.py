"""What a job looks like now: its last decided status under what its worker said since. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from auteur_contracts.events import Envelope, Logged, Previewed, Progressed, Started
from auteur_contracts.resources import GenerationJobStatus, Progress, QueueStatus, derive_phase
from auteur_contracts.vocabulary import VIEWS, Phase, View

_WAITING = (Phase.PENDING, Phase.QUEUED, Phase.RETRYING)


@dataclass(frozen=True)
class Live:
    """A worker's own words about an attempt. They are not durable: the status has them too, a little later."""

    attempt: int = 0
    worker: str = ""
    started: datetime | None = None
    progress: Progress | None = None
    preview_uri: str | None = None


@dataclass(frozen=True)
class Seen:
    status: GenerationJobStatus
    view: View


def hear(live: Live, fact: Envelope) -> Live:
    """What is known after a worker's fact. A later attempt starts anew; an older one says nothing any more."""
    data = fact.data
    if data.attempt < live.attempt or isinstance(data, Logged):
        return live
    live = Live(attempt=data.attempt) if data.attempt > live.attempt else live
    match data:
        case Started(worker=worker):
            return replace(live, worker=worker, started=live.started or fact.time)
        case Progressed(progress=progress):
            return replace(
                live,
                started=live.started or fact.time,
                progress=progress,
                preview_uri=progress.preview_uri or live.preview_uri,
            )
        case Previewed(uri=uri):
            return replace(live, preview_uri=uri)
        case _:
            return live


def is_running(status: GenerationJobStatus, live: Live) -> bool:
    """Whether the worker's words are of the attempt that the status waits for."""
    if status.finished or not live.attempt:
        return False
    return live.attempt > status.attempt or (
        live.attempt == status.attempt and derive_phase(status) not in (Phase.RETRYING, Phase.SUSPENDED)
    )


def is_waiting(status: GenerationJobStatus, live: Live) -> bool:
    """Whether it may have a place in a queue."""
    return not is_running(status, live) and derive_phase(status) in _WAITING


def overlay(status: GenerationJobStatus, live: Live, place: QueueStatus | None = None) -> Seen:
    """`place` is the one in the queue that the truth last said."""
    if place is not None and is_waiting(status, live):
        return Seen(status.model_copy(update={"queue": place}), status.view)
    if not is_running(status, live):
        return Seen(status, status.view)
    # What the status says is of an attempt that is over, if the worker speaks of a later one.
    progress = live.progress or (status.progress if live.attempt == status.attempt else None)
    if progress is not None and live.preview_uri:
        progress = progress.model_copy(update={"preview_uri": live.preview_uri})
    elif live.preview_uri:
        progress = Progress(phase="", preview_uri=live.preview_uri)
    update = {
        "phase": Phase.RUNNING,
        "attempt": live.attempt,
        "worker": live.worker or status.worker,
        "start_time": status.start_time or live.started,
        "progress": progress,
        "queue": None,
    }
    return Seen(status.model_copy(update=update), VIEWS[Phase.RUNNING])
