"""GenerationJob: one run of one function, asked for by a person, and everything known of it."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, computed_field, model_validator

from auteur_contracts.cells import money_cell, percent_cell, seconds_cell
from auteur_contracts.model import AskedModel, KeptModel, Params, TolerantModel
from auteur_contracts.names import API_VERSION, DEFAULT_PROJECT
from auteur_contracts.quantities import (
    MAX_INTEGER,
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
OutputUri = Annotated[str, StringConstraints(pattern=r"^s3://[A-Za-z0-9._/-]+$", max_length=512)]
"""Made of a bucket, a prefix of ours and a FileName: hundreds of them fit into a status."""
JsonPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=256)]


class OutputOf(AskedModel):
    """An output of another job of the same namespace."""

    job: JobName
    """Which job: this one waits until it has succeeded."""
    output: FileName | None = None
    """Which file; may be left out where the job makes exactly one."""


class JobInput(AskedModel):
    """A file the function reads: something uploaded, or another job's output. Exactly one of the two."""

    name: Identifier
    """As the function calls it."""
    uri: Uri | None = None
    """A file of this namespace's storage: s3://bucket/namespace/…, as an upload answers it."""
    from_: OutputOf | None = Field(None, alias="from")
    """An output of another job of the same namespace, which this one waits for."""

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        if (self.uri is None) == (self.from_ is None):
            raise ValueError(f'input "{self.name}" needs either "uri" or "from", not both')
        return self


class ParamFrom(AskedModel):
    """A parameter read out of another job's JSON output."""

    name: Identifier
    """The parameter."""
    job: JobName
    """Which job: this one waits until it has succeeded."""
    output: FileName
    """Which of its outputs, a JSON file."""
    path: JsonPath
    """Where in the file: names and numbers with dots between, as in scenes.0.visual."""


class GenerationJobSpec(AskedModel):
    """What is asked for. It cannot be changed, except `suspend` at any time, and `cancel` from false to true."""

    function: Label = "text-to-image"
    """What to do: a function that a FunctionRunner serves, such as text-to-image, image-to-image or voice."""
    quality: QualityName = Quality.STANDARD
    """How good, slow and expensive. Each runner says what it offers for it. `low` is read as `draft`."""
    runner: Label | None = None
    """Which FunctionRunner; the first ready one that serves the function in this quality when left out."""
    params: Params = Field(default_factory=dict)
    """Parameters of the function, checked against its schema before any worker is taken; 128 KiB of JSON at most."""
    params_from: tuple[ParamFrom, ...] = Field((), max_length=16)
    """Parameters that are read out of other jobs' JSON outputs."""
    inputs: tuple[JobInput, ...] = Field((), max_length=32)
    """The files the function reads."""
    project: Label = DEFAULT_PROJECT
    """Whose work it is: outputs lie below it, and lists can be limited to it. It need not exist to be named."""
    suspend: bool = False
    """While true the job waits. A running attempt is stopped; resuming makes a new one, which counts as no failure."""
    cancel: bool = False
    """Set to true to end the job for good; what was made until then is thrown away."""
    queue: Label | None = None
    """A Kueue LocalQueue. Only a cluster has one."""
    priority: Priority = Priority.NORMAL
    """Who goes first among jobs that wait for the same workers."""
    retries: int = Field(2, ge=0, le=10)
    """How often a failure of the function or the platform is tried again. Lost workers have a budget of their own."""
    deadline: Duration = Field(timedelta(minutes=5), gt=timedelta(0), json_schema_extra={"default": "5m"})
    """How long one attempt may run, as 90s, 10m or 1h30m."""
    start_deadline: Duration = Field(timedelta(hours=1), gt=timedelta(0), json_schema_extra={"default": "1h"})
    """How long the job may wait until its first attempt runs, as 90s, 10m or 1h30m."""
    ttl_seconds_after_finished: int = Field(86400, ge=0, le=366 * 86400)
    """How long the resource stays after it was archived. Outputs stay until somebody deletes them."""


class Output(KeptModel):
    """One file a job made, and what is known of it."""

    name: FileName
    """The file's name, and what other jobs call it by."""
    uri: OutputUri
    """Where it lies."""
    media_type: str = Field(max_length=128)
    """What it is, such as image/png."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", max_length=64)
    """Of its content."""
    bytes: int = Field(ge=0, le=MAX_INTEGER)
    """Its size."""
    width: int | None = Field(None, le=MAX_INTEGER)
    """Pixels."""
    height: int | None = Field(None, le=MAX_INTEGER)
    """Pixels."""
    seconds: float | None = None
    """Playing time."""


class Progress(KeptModel):
    """How far the newest attempt is."""

    phase: str = Field(max_length=64)
    """What the function is doing now, in its own words: `loading model`, `denoise`."""
    fraction: float = Field(0, ge=0, le=1)
    """Of the whole attempt. Never falls within one attempt."""
    step: int | None = Field(None, ge=0, le=MAX_INTEGER)
    """Steps done in this phase, where the function counts them."""
    steps: int | None = Field(None, ge=1, le=MAX_INTEGER)
    """Steps of this phase."""
    eta_seconds: float | None = Field(None, ge=0)
    """Until the attempt ends, guessed from how fast it went so far."""
    preview_uri: Uri | None = None
    """The newest preview."""
    message: str | None = Field(None, max_length=512)
    """What the function has to say."""


class QueueStatus(KeptModel):
    """Where the job stands in the line of those that wait for the same workers."""

    position: int = Field(ge=1)
    """1 is the next."""
    eta_seconds: float | None = Field(None, ge=0)
    """Until it starts, guessed from how long those before it take."""


class Cost(KeptModel):
    """What all attempts cost so far, the failed ones too."""

    usd: Usd
    """Seconds of workers times their price."""
    gpu_seconds: float = Field(ge=0)
    """Seconds of workers that have a GPU."""


class Failure(KeptModel):
    """What went wrong, where, and what to do: one record for status, event and page."""

    fault: Fault
    """Whose fault it was; it decides whether the job is tried again."""
    reason: Reason
    """One word to search for."""
    message: str = Field(max_length=2048)
    """What happened, and where."""
    remedy: str = Field("", max_length=1024)
    """What to do about it."""
    log_tail: tuple[Annotated[str, StringConstraints(max_length=512)], ...] = Field((), max_length=20)
    """The last lines of the worker's log."""
    recycle: bool = False
    """The worker's process is no longer to be trusted and is started anew."""


class Shown(TolerantModel):
    """For people and the columns of kubectl, which cannot compute: derived from the rest, never read back."""

    progress: str | None = Field(None, max_length=8)
    """How far the newest attempt is, as 42%."""
    eta: str | None = Field(None, max_length=16)
    """Until it ends, or starts while it waits, as 40s or 7m."""
    cost: str | None = Field(None, max_length=32)
    """What it cost so far, as $0.04."""


_NOTHING_SHOWN = Shown()
_YEAR = 366 * 86400.0


class GenerationJobStatus(KeptModel):
    """What is known of the job. The conditions are the truth."""

    observed_generation: int = 0
    """The metadata.generation that was looked at last."""
    conditions: tuple[Condition, ...] = Field((), max_length=12)
    """Facts about the job: Accepted, Dispatched, Running, Finished, Succeeded."""
    phase: Phase = Phase.PENDING
    """The conditions in one word, for people to read; no program decides by it."""
    plan: Plan | None = None
    """What the job resolved to. Decided once."""
    attempt: int = Field(0, ge=0)
    """The number of the newest attempt; 0 before the first was dispatched."""
    claim: str = Field("", max_length=64)
    """The nonce of the claim that was granted for this attempt; empty while nobody claimed it."""
    worker: str = Field("", max_length=128)
    """Who runs the newest attempt."""
    failures: int = Field(0, ge=0)
    """Attempts that the function or the platform failed; `retries` counts them."""
    losses: int = Field(0, ge=0)
    """Attempts whose worker was lost."""
    retry_at: datetime | None = None
    """When it is tried again."""
    dispatch_time: datetime | None = None
    """When the newest attempt was dispatched."""
    queue: QueueStatus | None = None
    """Its place among those that wait."""
    progress: Progress | None = None
    """How far the newest attempt is."""
    outputs: tuple[Output, ...] = Field((), max_length=MAX_OUTPUTS)
    """The files it made."""
    warnings: tuple[Annotated[str, StringConstraints(max_length=512)], ...] = Field((), max_length=MAX_WARNINGS)
    """What the function wants its user to know."""
    failure: Failure | None = None
    """What went wrong last."""
    cancelled_by: str = Field("", max_length=128)
    """Who cancelled it, where that is known."""
    cost: Cost | None = None
    """What it cost so far."""
    start_time: datetime | None = None
    """When the newest attempt was claimed."""
    resume_time: datetime | None = None
    """When it was last resumed: `startDeadline` counts from there."""
    completion_time: datetime | None = None
    """When it finished."""
    holds: tuple[Label, ...] | None = Field(None, max_length=16)
    """What keeps the resource once the job is finished, by name; each is released by whoever needs it. Absent where an
    older version decided about the job.
    """
    archived_time: datetime | None = None
    """When the last hold was released: the resource may go."""
    trace_id: str = Field("", max_length=32)
    """Of its OpenTelemetry trace."""

    @model_validator(mode="after")
    def _shown_is_not_read(self) -> Self:
        (self.model_extra or {}).pop("shown", None)
        return self

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        found = self.condition(kind)
        return found is not None and found.status is ConditionStatus.TRUE

    @property
    def finished(self) -> bool:
        return self.is_true(ConditionType.FINISHED)

    @property
    def running(self) -> bool:
        return self.is_true(ConditionType.RUNNING)

    @property
    def dispatched(self) -> bool:
        return self.is_true(ConditionType.DISPATCHED)

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know the pair
    @property
    def shown(self) -> Shown | None:
        """For people and the columns of kubectl: derived from the rest, never read back."""
        left = None if self.finished else self.progress or self.queue
        shown = Shown(
            progress=percent_cell(self.progress.fraction) if self.progress else None,
            eta=seconds_cell(min(left.eta_seconds, _YEAR)) if left and left.eta_seconds is not None else None,
            cost=money_cell(self.cost.usd) if self.cost else None,
        )
        return None if shown == _NOTHING_SHOWN else shown

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
    if not status.is_true(ConditionType.ACCEPTED):
        return Phase.PENDING
    waiting = status.condition(ConditionType.DISPATCHED)
    if waiting is not None and waiting.reason is Reason.SUSPENDED:
        return Phase.SUSPENDED
    return Phase.RETRYING if status.failures + status.losses else Phase.QUEUED


class GenerationJob(AskedModel):
    """One run of one function: a picture, a voice, a clip."""

    api_version: Literal["auteur.studio/v1alpha1"] = API_VERSION
    kind: Literal["GenerationJob"] = "GenerationJob"
    metadata: ObjectMeta
    spec: GenerationJobSpec = Field(default_factory=GenerationJobSpec)
    """What is asked for. It cannot be changed, except `suspend` at any time, and `cancel` from false to true."""
    status: GenerationJobStatus = Field(default_factory=GenerationJobStatus)
    """What is known of it."""

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.metadata.namespace, self.metadata.name
