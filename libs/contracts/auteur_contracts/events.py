"""Facts as they travel: a CloudEvents 1.0 envelope (https://cloudevents.io) whose data is one typed fact of a job."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from auteur_contracts.model import TolerantModel
from auteur_contracts.quantities import Label
from auteur_contracts.resources import GenerationJobStatus, Progress
from auteur_contracts.subjects import Fact, JobFact


class _FactData(TolerantModel):
    attempt: int = 0


class _Decided(_FactData):
    """A fact of the operator or engine, said after its status write: carries the status as written."""

    version: int
    """resourceVersion of that write: a reader keeps the status with the highest."""
    status: GenerationJobStatus


class Accepted(_Decided):
    fact: Literal[Fact.ACCEPTED] = Fact.ACCEPTED


class Rejected(_Decided):
    fact: Literal[Fact.REJECTED] = Fact.REJECTED


class Queued(_Decided):
    fact: Literal[Fact.QUEUED] = Fact.QUEUED


class Dispatched(_Decided):
    fact: Literal[Fact.DISPATCHED] = Fact.DISPATCHED


class Succeeded(_Decided):
    fact: Literal[Fact.SUCCEEDED] = Fact.SUCCEEDED


class Failed(_Decided):
    fact: Literal[Fact.FAILED] = Fact.FAILED


class Cancelled(_Decided):
    fact: Literal[Fact.CANCELLED] = Fact.CANCELLED


class Started(_FactData):
    fact: Literal[Fact.STARTED] = Fact.STARTED
    worker: str


class Progressed(_FactData):
    fact: Literal[Fact.PROGRESSED] = Fact.PROGRESSED
    progress: Progress


class Previewed(_FactData):
    fact: Literal[Fact.PREVIEWED] = Fact.PREVIEWED
    uri: str
    step: int | None = None


class Logged(_FactData):
    fact: Literal[Fact.LOGGED] = Fact.LOGGED
    stream: Literal["stdout", "stderr", "log"]
    level: Literal["debug", "info", "warning", "error"] = "info"
    line: str = Field(max_length=4096)


FactData = Annotated[
    Accepted
    | Rejected
    | Queued
    | Dispatched
    | Started
    | Progressed
    | Previewed
    | Logged
    | Succeeded
    | Failed
    | Cancelled,
    Field(discriminator="fact"),
]
DecidedFact = Accepted | Rejected | Queued | Dispatched | Succeeded | Failed | Cancelled


class Envelope(TolerantModel):
    specversion: Literal["1.0"] = "1.0"
    id: str
    """Deterministic (`names.event_id`), also the Nats-Msg-Id: a fact published twice is one event."""
    source: str
    """Who says it: `engine`, `operator`, `gateway`, or a worker's name."""
    type: str
    """`job.<fact>`."""
    subject: str
    """`<namespace>/<job name>`."""
    time: datetime
    namespace: Label
    project: Label
    name: str
    uid: str
    request_id: str = ""
    """Of the submit that asked for the job, in facts of the operator or engine: tells it from another of its name while
    its uid is not known."""
    node_id: str = ""
    data: FactData

    @property
    def nats_subject(self) -> str:
        return str(JobFact(self.namespace, self.project, self.uid, self.data.fact))
