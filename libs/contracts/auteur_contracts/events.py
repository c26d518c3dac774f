"""Facts as they travel: a CloudEvents 1.0 envelope (https://cloudevents.io) whose data is one typed fact of a resource.

A new event is a class of data in the union `FactData`: the envelope derives its type and its subjects from the data.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, computed_field

from auteur_contracts.model import TolerantModel
from auteur_contracts.quantities import Label
from auteur_contracts.resources import GenerationJobStatus, Progress
from auteur_contracts.subjects import JOB, Fact, event


class EventData(TolerantModel):
    """What happened to a resource. A job's data do not write their kind, which older readers would not look for; the
    data of any other kind do: `kind: Literal["film"] = "film"`.
    """

    kind: str = Field(JOB, exclude=True)
    fact: str

    @property
    def type(self) -> str:
        """`<kind>.<fact>`."""
        return f"{self.kind}.{self.fact}"


class _JobData(EventData):
    attempt: int = 0


class _Decided(_JobData):
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


class Started(_JobData):
    fact: Literal[Fact.STARTED] = Fact.STARTED
    worker: str


class Progressed(_JobData):
    fact: Literal[Fact.PROGRESSED] = Fact.PROGRESSED
    progress: Progress


class Previewed(_JobData):
    fact: Literal[Fact.PREVIEWED] = Fact.PREVIEWED
    uri: str
    step: int | None = None


class Logged(_JobData):
    fact: Literal[Fact.LOGGED] = Fact.LOGGED
    stream: Literal["stdout", "stderr", "log"]
    level: Literal["debug", "info", "warning", "error"] = "info"
    line: str = Field(max_length=4096)


def _type_of(data: Any) -> str:
    if isinstance(data, EventData):
        return data.type
    return f"{data.get('kind', JOB)}.{data.get('fact')}" if isinstance(data, dict) else ""


FactData = Annotated[
    Annotated[Accepted, Tag("job.accepted")]
    | Annotated[Rejected, Tag("job.rejected")]
    | Annotated[Queued, Tag("job.queued")]
    | Annotated[Dispatched, Tag("job.dispatched")]
    | Annotated[Started, Tag("job.started")]
    | Annotated[Progressed, Tag("job.progressed")]
    | Annotated[Previewed, Tag("job.previewed")]
    | Annotated[Logged, Tag("job.logged")]
    | Annotated[Succeeded, Tag("job.succeeded")]
    | Annotated[Failed, Tag("job.failed")]
    | Annotated[Cancelled, Tag("job.cancelled")],
    Discriminator(_type_of),
]
DecidedFact = Accepted | Rejected | Queued | Dispatched | Succeeded | Failed | Cancelled


class Envelope(TolerantModel):
    specversion: Literal["1.0"] = "1.0"
    id: str
    """Deterministic (`names.event_id`), also the Nats-Msg-Id: a fact published twice is one event."""
    source: str
    """Who says it: `engine`, `operator`, `gateway`, or a worker's name."""
    time: datetime
    namespace: Label
    project: Label
    name: str
    uid: str
    """The resource's, whatever its kind."""
    request_id: str = ""
    """Of the submit that asked for the job, in facts of the operator or engine: tells it from another of its name while
    its uid is not known."""
    node_id: str = ""
    """The canvas node that the resource belongs to, where it belongs to one."""
    data: FactData

    @computed_field  # type: ignore[prop-decorator]
    @property
    def type(self) -> str:
        return self.data.type

    @computed_field  # type: ignore[prop-decorator]
    @property
    def subject(self) -> str:
        """CloudEvents' word for what it is about, not NATS's: `<namespace>/<name>`."""
        return f"{self.namespace}/{self.name}"

    @property
    def nats_subject(self) -> str:
        return str(event(self.namespace, self.project, self.data.kind, self.uid, self.data.fact))
