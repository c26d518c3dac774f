"""The conversation about one attempt: order → claim → grant → report.

An order holds references, never links or secrets.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auteur_contracts.model import TolerantModel
from auteur_contracts.quantities import Identifier
from auteur_contracts.resources import Failure, GenerationJob, Output, Plan


class Order(TolerantModel):
    """Offers one attempt to the workers of a pool. Delivered perhaps twice; the claim decides who runs it."""

    namespace: str
    project: str
    name: str
    uid: str
    attempt: int = Field(ge=1)
    pool: str

    @classmethod
    def of(cls, job: GenerationJob, pool: str, attempt: int) -> "Order":
        meta = job.metadata
        return cls(
            namespace=meta.namespace,
            project=job.spec.project,
            name=meta.name,
            uid=meta.uid,
            attempt=attempt,
            pool=pool,
        )


class ClaimRequest(TolerantModel):
    namespace: str
    name: str
    uid: str
    attempt: int
    worker: str = Field(max_length=128)
    nonce: str = Field(max_length=64)
    """Drawn by the worker once an attempt, and kept until it is granted or refused, however often the order is
    delivered: asking again with the same nonce is the same claim (its reply was lost), with another one it is a second
    claim and refused."""


class InputLink(TolerantModel):
    name: Identifier
    url: str
    file_name: str
    """How the file is called in the attempt's folder."""


class UploadForm(TolerantModel):
    """A presigned POST (AWS Signature V4 policy): any key under `prefix`, each file at most `max_bytes`."""

    url: str
    fields: dict[str, str]
    prefix: str
    bucket: str
    max_bytes: int


class Grant(TolerantModel):
    granted: Literal[True] = True
    token: str
    """Proves that a report comes from the worker this claim was granted to."""
    plan: Plan
    deadline_seconds: float
    inputs: tuple[InputLink, ...] = ()
    upload: UploadForm
    node_id: str = ""


class RefusalReason(StrEnum):
    UNKNOWN = "unknown"
    STALE = "stale"
    CLAIMED = "claimed"
    CANCELLED = "cancelled"
    FINISHED = "finished"


class ClaimRefused(TolerantModel):
    granted: Literal[False] = False
    reason: RefusalReason
    message: str = ""


ClaimReply = Annotated[Grant | ClaimRefused, Field(discriminator="granted")]


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HANDED_BACK = "handed-back"
    """The worker drains and gives the attempt up: does not count as a failure."""


class ReportHead(TolerantModel):
    """Whose report it is: what can be believed of one whose rest cannot be read."""

    namespace: str
    name: str
    uid: str
    attempt: int
    worker: str
    token: str


class Report(ReportHead):
    """A worker's one durable word on how its attempt ended."""

    outcome: Outcome
    outputs: tuple[Output, ...] = ()
    failure: Failure | None = None
    warnings: tuple[Annotated[str, StringConstraints(max_length=512)], ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    """Named figures of the run; `run_seconds`, `load_seconds` and `upload_seconds` are always there."""
    started_at: datetime
    finished_at: datetime


MAX_TERMINATION_BYTES = 3072
"""A kubelet cuts what it is left: 4 KiB a container, less where a pod has many."""


class TerminationMessage(TolerantModel):
    """What the pod of one attempt leaves its kubelet at the end: the report without its token, shortened until it fits
    into MAX_TERMINATION_BYTES; or why nothing was run.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    worker: str
    outcome: Outcome | None = None
    """None: nothing was run here; `message` says why."""
    refused: RefusalReason | None = None
    """The claim was answered, with no."""
    message: str = ""
    """For people; empty where `failure` says it."""
    outputs: tuple[Output, ...] = ()
    truncated: bool = False
    """Outputs were left out: the attempt's result.json has them all."""
    failure: Failure | None = None
    warnings: tuple[Annotated[str, StringConstraints(max_length=512)], ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def report(self) -> Report | None:
        """The report it was made from, as far as it is here, with an empty token: who reads a pod's status knows whose
        word it is. None where nothing was run.
        """
        if self.outcome is None or self.started_at is None or self.finished_at is None:
            return None
        return Report(
            namespace=self.namespace,
            name=self.name,
            uid=self.uid,
            attempt=self.attempt,
            worker=self.worker,
            token="",
            outcome=self.outcome,
            outputs=self.outputs,
            failure=self.failure,
            warnings=self.warnings,
            metrics=self.metrics,
            started_at=self.started_at,
            finished_at=self.finished_at,
        )


class WorkerState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    BROKEN = "broken"
    """`setup` failed; `message` says why."""


class Heartbeat(TolerantModel):
    """Every 2 s on core NATS; a worker silent for 6 s is lost."""

    worker: str
    pool: str
    runner: str
    state: WorkerState
    uid: str = ""
    attempt: int = 0
    message: str = ""
    sequence: int = 0
