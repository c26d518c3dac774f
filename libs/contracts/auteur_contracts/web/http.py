"""Requests and replies of the HTTP API."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auteur_contracts.errors import ErrorBody
from auteur_contracts.model import JsonObject
from auteur_contracts.names import DEFAULT_PROJECT
from auteur_contracts.quantities import Duration, FileName, Identifier, JobName, Label
from auteur_contracts.vocabulary import ApiStatus, Fault, NodeState, Phase, Priority, Quality, QualityName, Reason
from auteur_contracts.web.model import Reply, Request

NodeId = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class ErrorReply(Reply):
    """Every error of the API has this form."""

    error: ErrorBody
    request_id: str
    timestamp: datetime


class GenerationInput(Request):
    """A file to work on: an upload's uri (`POST /v1/uploads`) or another job's output. Exactly one of the two."""

    name: Identifier
    uri: str | None = Field(None, max_length=2048)
    job: JobName | None = None
    output: FileName | None = None


class CreateGeneration(Request):
    """`{"prompt": "misty cyberpunk alley"}` is enough."""

    prompt: str | None = Field(None, min_length=1, max_length=10_000)
    """Short for `params.prompt`."""
    function: Label = "text-to-image"
    quality: QualityName | None = None
    """The server's default (`standard`) when left out."""
    runner: Label | None = None
    params: JsonObject = Field(default_factory=dict)
    inputs: tuple[GenerationInput, ...] = Field((), max_length=32)
    project: Label = DEFAULT_PROJECT
    name: JobName | None = None
    """The job's name, chosen by the server when left out. With `count`, `-1`, `-2`, … are appended."""
    count: int = Field(1, ge=1, le=16)
    """How many jobs of the same request, each with a seed of its own."""
    node_id: NodeId | None = None
    """The canvas node the job belongs to."""
    priority: Priority = Priority.NORMAL
    retries: int | None = Field(None, ge=0, le=10)
    deadline: Duration | None = None


class CreatedGeneration(Reply):
    job_id: str
    status: Literal[ApiStatus.QUEUED] = ApiStatus.QUEUED
    project: str
    function: str
    quality: Quality
    created_at: datetime
    status_url: str
    node_id: str | None = None
    jobs: tuple[str, ...] = ()
    """All job ids where `count` asked for several; the first is `job_id`."""


class ProgressReply(Reply):
    progress: float = 0.0
    """0.0 to 1.0 of the whole job."""
    phase: str = ""
    step: int | None = None
    steps: int | None = None
    eta_seconds: float | None = None
    preview_url: str | None = None
    message: str | None = None


class OutputReply(Reply):
    name: str
    url: str
    """Stable; redirects to a short-lived link."""
    media_type: str
    sha256: str
    bytes: int
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


class OutputList(Reply):
    items: tuple[OutputReply, ...]


class FailureReply(Reply):
    """What went wrong, where, and what to do."""

    fault: Fault
    """Whose it was."""
    reason: Reason
    message: str
    remedy: str = ""
    log_tail: tuple[str, ...] = ()
    """The last lines that the attempt wrote."""


class GenerationStatusReply(Reply):
    """What a poll needs."""

    job_id: str
    status: ApiStatus
    phase: Phase
    message: str = ""
    """Why it is where it is, in a sentence."""
    progress: ProgressReply
    queue_position: int | None = None
    queue_eta_seconds: float | None = None
    outputs: tuple[OutputReply, ...] = ()
    error: FailureReply | None = None
    warnings: tuple[str, ...] = ()


class GenerationReply(GenerationStatusReply):
    """Everything known of a job."""

    uid: str = ""
    """Empty until the job was created."""
    namespace: str
    project: str
    function: str
    quality: Quality
    runner: str | None = None
    params: JsonObject
    """As asked; with the plan's defaults once it is planned."""
    seed: int | None = None
    pipeline: str | None = None
    attempt: int = 0
    priority: Priority = Priority.NORMAL
    node_id: str | None = None
    node_state: NodeState
    retry_of: str | None = None
    cancelled_by: str | None = None
    cost_usd: Decimal | None = None
    gpu_seconds: float | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    resource: JsonObject | None = None
    """The GenerationJob as `auteur apply` takes it; only of a single job."""


class GenerationList(Reply):
    items: tuple[GenerationReply, ...]
    next_cursor: str | None = None
    """Give it back as `cursor` for the next page; null at the end."""


class CreateUpload(Request):
    """Asks for a place to upload one input file to."""

    file_name: FileName
    media_type: str = Field("application/octet-stream", max_length=128)
    bytes: int = Field(ge=1, le=2 * 1024**3)
    """Exact size; larger uploads are refused by the store."""
    project: Label = DEFAULT_PROJECT


class UploadReply(Reply):
    """Send `fields` and then the file as field `file`, multipart/form-data, to `url`; then use `uri` as an input."""

    uri: str
    url: str
    fields: dict[str, str]
    expires_at: datetime


class ApplyOutcome(StrEnum):
    CREATED = "created"
    UNCHANGED = "unchanged"
    CONFIGURED = "configured"


class AppliedReply(Reply):
    outcome: ApplyOutcome
    kind: str
    name: str
    namespace: str


class QualityMapping(Reply):
    quality: Quality
    runner: str
    pipeline: str
    vram_gigabytes: float
    optimizations: tuple[str, ...]
    defaults: JsonObject
    ready: bool
    message: str = ""


class QualityMappings(Reply):
    mappings: tuple[QualityMapping, ...]


class TierReply(Reply):
    quality: Quality
    ready: bool
    message: str = ""
    defaults: JsonObject
    usd_per_second: Decimal | None = None


class InputReply(Reply):
    """A file that a function reads."""

    name: str
    media_type: str
    """A pattern: `image/*`."""
    required: bool = True
    description: str = ""


class ProducedReply(Reply):
    """A file that a function makes."""

    name: str
    media_type: str


class FunctionReply(Reply):
    name: str
    runner: str
    description: str
    ready: bool
    message: str = ""
    params_schema: JsonObject
    inputs: tuple[InputReply, ...]
    outputs: tuple[ProducedReply, ...]
    example: JsonObject
    tiers: tuple[TierReply, ...]


class FunctionList(Reply):
    items: tuple[FunctionReply, ...]


class HealthStatus(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class HealthReply(Reply):
    status: HealthStatus
    timestamp: datetime
    service: str
    version: str
    checks: dict[str, str]


class InfoReply(Reply):
    name: str
    version: str
    namespace: str
    endpoints: dict[str, str]
    default_quality: Quality
    task_timeout_seconds: float
    heartbeat_seconds: float
    queue_limit: int


class WelcomeReply(Reply):
    message: str
    version: str
    docs: str
    health: str
