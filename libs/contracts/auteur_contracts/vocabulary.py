"""The fixed words: qualities, priorities, phases, and the table that maps a job's phase to every other view of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, WithJsonSchema


class OpenWord(StrEnum):
    """Words that may grow: one of a newer version is kept as it is, equals no member, and so decides nothing."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word


class Quality(StrEnum):
    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"
    ULTRA = "ultra"


def _read_low_as_draft(value: Any) -> Any:
    return Quality.DRAFT if value == "low" else value


QualityName = Annotated[
    Quality,
    BeforeValidator(_read_low_as_draft),
    WithJsonSchema({"type": "string", "enum": [*(quality.value for quality in Quality), "low"]}, mode="validation"),
]
"""A quality as people write it; `low` is the older word for `draft`."""


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Smaller goes first."""
        return {"high": 0, "normal": 1, "low": 2}[self.value]


class ConditionType(OpenWord):
    ACCEPTED = "Accepted"
    DISPATCHED = "Dispatched"
    RUNNING = "Running"
    FINISHED = "Finished"
    SUCCEEDED = "Succeeded"
    STALLED = "Stalled"
    """Only while it holds."""


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Phase(OpenWord):
    """Derived from the conditions for people to read; no program decides by it."""

    PENDING = "Pending"
    QUEUED = "Queued"
    DISPATCHED = "Dispatched"
    RUNNING = "Running"
    RETRYING = "Retrying"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class ApiStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (ApiStatus.DONE, ApiStatus.FAILED, ApiStatus.CANCELLED)


class NodeState(StrEnum):
    """What a canvas node shows."""

    IDLE = "idle"
    GENERATING = "generating"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True)
class View:
    phase: Phase
    api: ApiStatus
    node: NodeState


VIEWS: dict[Phase, View] = {
    view.phase: view
    for view in (
        View(Phase.PENDING, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.QUEUED, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.SUSPENDED, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.DISPATCHED, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.RETRYING, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.RUNNING, ApiStatus.RUNNING, NodeState.GENERATING),
        View(Phase.SUCCEEDED, ApiStatus.DONE, NodeState.COMPLETED),
        View(Phase.FAILED, ApiStatus.FAILED, NodeState.ERROR),
        View(Phase.CANCELLED, ApiStatus.CANCELLED, NodeState.IDLE),
    )
}


class Reason(OpenWord):
    """Why a condition holds: words to search for, part of the API."""

    # Accepted
    RESOLVED = "Resolved"
    UNKNOWN_FUNCTION = "UnknownFunction"
    UNKNOWN_RUNNER = "UnknownRunner"
    TIER_NOT_OFFERED = "TierNotOffered"
    INVALID_PARAMETER = "InvalidParameter"
    INVALID_INPUT = "InvalidInput"
    NOT_SUPPORTED = "NotSupported"
    UNKNOWN_FIELD = "UnknownField"
    NAME_TAKEN = "NameTaken"
    # Dispatched
    WAITING_FOR_INPUTS = "WaitingForInputs"
    WAITING_FOR_WORKER = "WaitingForWorker"
    WAITING_TO_RETRY = "WaitingToRetry"
    RUNNER_NOT_READY = "RunnerNotReady"
    SUSPENDED = "Suspended"
    WAITING_FOR_TURN = "WaitingForTurn"
    NAMESPACE_NOT_ENABLED = "NamespaceNotEnabled"
    ORDERED = "Ordered"
    POD_CREATED = "PodCreated"
    # Running
    CLAIMED = "Claimed"
    POD_STARTING = "PodStarting"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    POD_REFUSED = "PodRefused"
    # Finished, Succeeded
    OUTPUTS_COMMITTED = "OutputsCommitted"
    CANCELLED = "Cancelled"
    INPUT_FAILED = "InputFailed"
    INVALID_REQUEST = "InvalidRequest"
    FUNCTION_FAILED = "FunctionFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    PLATFORM_FAILED = "PlatformFailed"
    WORKER_LOST = "WorkerLost"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    RESULT_MISSING = "ResultMissing"
    # not finished yet
    IN_PROGRESS = "InProgress"


class Fault(OpenWord):
    """Whose fault a failed attempt was; it decides whether the job is tried again."""

    USER = "user"
    FUNCTION = "function"
    PLATFORM = "platform"
    LOST = "lost"
