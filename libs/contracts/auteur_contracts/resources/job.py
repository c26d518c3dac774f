"""GenerationJob: one run of one function, asked for by a person, and everything known of it."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from auteur_contracts.model import Asked, JsonObject, Told
from auteur_contracts.names import API_VERSION, DEFAULT_PROJECT
from auteur_contracts.quantities import (
    MAX_OUTPUTS,
    MAX_WARNINGS,
    Duration,
    FileName,
    Identifier,
    JobName,
    Label,
    Usd,
)
from auteur_contracts.resources.meta import Condition, ObjectMeta
from auteur_contracts.resources.plan import Plan
from auteur_contracts.vocabulary import (
    VIEWS,
    ConditionStatus,
    ConditionType,
    Fault,
    Phase,
    Priority,
    Quality,
    QualityName,
    Reason,
    View,
)

Uri = Annotated[str, StringConstraints(max_length=2048)]
JsonPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=256)]


class OutputOf(Asked):
    """An output of another job of the same namespace."""

    job: JobName
    output: FileName | None = None
    """Which file; may be left out where the job makes exactly one."""


class JobInput(Asked):
    """A file the function reads: something uploaded, or another job's output. Exactly one of the two."""

    name: Identifier
    uri: Uri | None = None
    from_: OutputOf | None = Field(None, alias="from")

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        if (self.uri is None) == (self.from_ is None):
            raise ValueError(f'input "{self.name}" needs either "uri" or "from", not both')
        return self


class ParamFrom(Asked):
    """A parameter read out of another job's JSON output."""

    name: Identifier
    job: JobName
    output: FileName
    path: JsonPath


class GenerationJobSpec(Asked):
    """Immutable, except `suspend`, and `cancel` from false to true."""

    function: Label = "text-to-image"
    quality: QualityName = Quality.STANDARD
    runner: Label | None = None
    """Which runner; the first ready one that serves the function when left out."""
    params: JsonObject = Field(default_factory=dict)
    params_from: tuple[ParamFrom, ...] = Field((), max_length=16)
    inputs: tuple[JobInput, ...] = Field((), max_length=32)
    project: Label = DEFAULT_PROJECT
    suspend: bool = False
    cancel: bool = False
    queue: Label | None = None
    """A Kueue LocalQueue. Only a cluster has one."""
    priority: Priority = Priority.NORMAL
    retries: int = Field(2, ge=0, le=10)
    """How often a failure of the function or the platform is tried again. Lost workers have a budget of their own."""
    deadline: Duration = Field(timedelta(minutes=5), gt=timedelta(0), json_schema_extra={"default": "5m"})
    """How long one attempt may run."""
    start_deadline: Duration = Field(timedelta(hours=1), gt=timedelta(0), json_schema_extra={"default": "1h"})
    """How long the job may wait until its first attempt runs."""
    ttl_seconds_after_finished: int = Field(86400, ge=0, le=366 * 86400)
    """How long the resource stays after it was archived. Outputs stay until somebody deletes them."""


class Output(Told):
    """One file a job made, and what is known of it."""

    name: FileName
    uri: Uri
    media_type: str = Field(max_length=128)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    seconds: float | None = None
    """Playing time."""


class Progress(Told):
    phase: str = Field(max_length=64)
    """What the function is doing now, in its own words: `loading model`, `denoise`."""
    fraction: float = Field(0, ge=0, le=1)
    """Of the whole attempt. Never falls within one attempt."""
    step: int | None = Field(None, ge=0)
    steps: int | None = Field(None, ge=1)
    eta_seconds: float | None = Field(None, ge=0)
    preview_uri: Uri | None = None
    message: str | None = Field(None, max_length=512)


class QueueStatus(Told):
    position: int = Field(ge=1)
    eta_seconds: float | None = Field(None, ge=0)


class Cost(Told):
    usd: Usd
    gpu_seconds: float = Field(ge=0)


class Failure(Told):
    """What went wrong, where, and what to do: one record for status, event and page."""

    fault: Fault
    reason: Reason
    message: str = Field(max_length=2048)
    remedy: str = Field("", max_length=1024)
    log_tail: tuple[Annotated[str, StringConstraints(max_length=512)], ...] = Field((), max_length=20)
    recycle: bool = False
    """The worker's process is no longer to be trusted and is started anew."""


class GenerationJobStatus(Told):
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = Field((), max_length=16)
    phase: Phase = Phase.PENDING
    plan: Plan | None = None
    attempt: int = Field(0, ge=0)
    """The number of the newest attempt; 0 before the first was dispatched."""
    claim: str = Field("", max_length=64)
    """The nonce of the claim that was granted for this attempt; empty while nobody claimed it."""
    worker: str = Field("", max_length=128)
    failures: int = Field(0, ge=0)
    losses: int = Field(0, ge=0)
    retry_at: datetime | None = None
    dispatch_time: datetime | None = None
    queue: QueueStatus | None = None
    progress: Progress | None = None
    outputs: tuple[Output, ...] = Field((), max_length=MAX_OUTPUTS)
    warnings: tuple[Annotated[str, StringConstraints(max_length=512)], ...] = Field((), max_length=MAX_WARNINGS)
    failure: Failure | None = None
    cancelled_by: str = Field("", max_length=128)
    cost: Cost | None = None
    start_time: datetime | None = None
    """When the newest attempt was claimed."""
    resume_time: datetime | None = None
    """When it was last resumed: `startDeadline` counts from there."""
    completion_time: datetime | None = None
    archived_time: datetime | None = None
    trace_id: str = Field("", max_length=32)

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type is kind), None)

    def holds(self, kind: ConditionType) -> bool:
        found = self.condition(kind)
        return found is not None and found.status is ConditionStatus.TRUE

    @property
    def finished(self) -> bool:
        return self.holds(ConditionType.FINISHED)

    @property
    def running(self) -> bool:
        return self.holds(ConditionType.RUNNING)

    @property
    def dispatched(self) -> bool:
        return self.holds(ConditionType.DISPATCHED)

    @property
    def view(self) -> View:
        return VIEWS[derive_phase(self)]


def derive_phase(status: GenerationJobStatus) -> Phase:
    """The first half of the one table: conditions → phase. `VIEWS` is the other: phase → API status, node state."""
    if status.finished:
        succeeded = status.condition(ConditionType.SUCCEEDED)
        if succeeded is not None and succeeded.status is ConditionStatus.TRUE:
            return Phase.SUCCEEDED
        cancelled = succeeded is not None and succeeded.reason is Reason.CANCELLED
        return Phase.CANCELLED if cancelled else Phase.FAILED
    if status.running:
        return Phase.RUNNING
    if status.dispatched:
        return Phase.DISPATCHED
    if not status.holds(ConditionType.ACCEPTED):
        return Phase.PENDING
    waiting = status.condition(ConditionType.DISPATCHED)
    if waiting is not None and waiting.reason is Reason.SUSPENDED:
        return Phase.SUSPENDED
    return Phase.RETRYING if status.failures + status.losses else Phase.QUEUED


class GenerationJob(Asked):
    api_version: Literal["auteur.studio/v1alpha1"] = API_VERSION
    kind: Literal["GenerationJob"] = "GenerationJob"
    metadata: ObjectMeta
    spec: GenerationJobSpec = Field(default_factory=GenerationJobSpec)
    status: GenerationJobStatus = Field(default_factory=GenerationJobStatus)

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.metadata.namespace, self.metadata.name
