"""Messages of the project socket `/ws/{project_id}` and, the server's half, of the SSE stream `/v1/events`.
Fields are those of the design page; every server event carries the cursor to resume after."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from auteur_contracts.model import JsonObject
from auteur_contracts.quantities import Label
from auteur_contracts.vocabulary import ApiStatus, NodeState, Quality, QualityName
from auteur_contracts.web.http import FailureReply, NodeId, OutputReply
from auteur_contracts.web.model import Reply, Request

MessageId = Annotated[str, StringConstraints(max_length=128)]


class StartGeneration(Request):
    type: Literal["start_generation"] = "start_generation"
    id: MessageId = ""
    """Also the idempotency key: sent twice it starts one job."""
    task_type: str = Field("text-to-image", max_length=63)
    """The function; underscores are read as hyphens."""
    params: JsonObject = Field(default_factory=dict)
    quality: QualityName | None = None
    runner: Label | None = None
    node_id: NodeId | None = None


class CancelTask(Request):
    type: Literal["cancel"] = "cancel"
    id: MessageId = ""
    task_id: str = Field(max_length=64)


class Ping(Request):
    type: Literal["ping"] = "ping"
    id: MessageId = ""


ClientMessage = Annotated[StartGeneration | CancelTask | Ping, Field(discriminator="type")]
client_messages: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)


class _ServerMessage(Reply):
    id: str
    project_id: str
    timestamp: datetime
    cursor: str | None = None
    """`<epoch>-<sequence>`, with `.<k>` where one event made several messages; null for replies to this client only."""


class _AboutTask(_ServerMessage):
    task_id: str
    node_id: str | None = None


class TaskStarted(_AboutTask):
    """The job was accepted and waits or runs."""

    type: Literal["task_started"] = "task_started"
    function: str
    quality: Quality
    reply_to: str | None = None


class ProgressMessage(_AboutTask):
    type: Literal["progress"] = "progress"
    progress: float
    step: int | None = None
    steps: int | None = None
    message: str | None = None
    preview_url: str | None = None
    status: ApiStatus


class CompleteResult(Reply):
    outputs: tuple[OutputReply, ...]
    metadata: JsonObject


class Complete(_AboutTask):
    type: Literal["complete"] = "complete"
    result: CompleteResult
    duration: float
    """Seconds from acceptance to the end."""


class ErrorMessage(_ServerMessage):
    """A job failed or was cancelled (`task_id` is set), or this client sent something wrong."""

    type: Literal["error"] = "error"
    error_code: str
    message: str
    details: JsonObject | None = None
    """Of a job that failed: the fields of `FailureReply`."""
    task_id: str | None = None
    node_id: str | None = None
    reply_to: str | None = None


class Pong(_ServerMessage):
    type: Literal["pong"] = "pong"
    reply_to: str | None = None


class NodeStateUpdated(_AboutTask):
    type: Literal["node_state_updated"] = "node_state_updated"
    state: NodeState


class SnapshotTask(Reply):
    task_id: str
    node_id: str | None = None
    status: ApiStatus
    progress: float
    outputs: tuple[OutputReply, ...] = ()
    error: FailureReply | None = None


class SnapshotMessage(_ServerMessage):
    """What is true now, sent instead of events that can no longer be replayed."""

    type: Literal["snapshot"] = "snapshot"
    reason: str
    """What was missed and why."""
    missed_after: str | None = None
    """The cursor after which events are missing; null when unknown."""
    tasks: tuple[SnapshotTask, ...]


ServerMessage = Annotated[
    TaskStarted | ProgressMessage | Complete | ErrorMessage | Pong | NodeStateUpdated | SnapshotMessage,
    Field(discriminator="type"),
]
server_messages: TypeAdapter[ServerMessage] = TypeAdapter(ServerMessage)
