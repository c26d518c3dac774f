"""Facts → messages of the project socket. Pure: the same fact at the same place makes the same messages."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from auteur_contracts.events import (
    Accepted,
    Cancelled,
    DecidedFact,
    Envelope,
    Failed,
    Previewed,
    Progressed,
    Rejected,
    Started,
    Succeeded,
)
from auteur_contracts.resources import Failure, GenerationJobStatus, Output
from auteur_contracts.vocabulary import ApiStatus, ConditionType, NodeState, Quality
from auteur_contracts.web.http import FailureReply, OutputReply
from auteur_contracts.web.socket import (
    Complete,
    CompleteResult,
    ErrorMessage,
    NodeStateUpdated,
    ProgressMessage,
    TaskStarted,
)
from auteur_gateway.cursor import Cursor, places

Message = TaskStarted | ProgressMessage | Complete | ErrorMessage | NodeStateUpdated
CANCELLED = "cancelled"


def output_url(job: str, name: str) -> str:
    """Stable; redirects to a short-lived link."""
    return f"/v1/generations/{job}/outputs/{name}"


def preview_url(job: str, version: object) -> str:
    """The newest preview; `version` makes browsers ask again."""
    return f"/v1/generations/{job}/preview?v={version}"


def output_replies(job: str, outputs: tuple[Output, ...]) -> tuple[OutputReply, ...]:
    return tuple(
        OutputReply(
            name=output.name,
            url=output_url(job, output.name),
            media_type=output.media_type,
            sha256=output.sha256,
            bytes=output.bytes,
            width=output.width,
            height=output.height,
            seconds=output.seconds,
        )
        for output in outputs
    )


def failure_reply(failure: Failure) -> FailureReply:
    return FailureReply(
        fault=failure.fault,
        reason=failure.reason,
        message=failure.message,
        remedy=failure.remedy,
        log_tail=failure.log_tail,
    )


def messages_of(fact: Envelope, epoch: str, sequence: int, fraction: float) -> tuple[Message, ...]:
    """`fraction` is how far the job was known to be, for facts that do not say."""
    made = tuple(_made(fact, fraction))
    for number, (message, place) in enumerate(zip(made, places(sequence, len(made)), strict=True)):
        # Nobody has these yet, and progress comes by the thousand: filled in, not copied.
        vars(message).update(id=f"{fact.id}.{number}" if number else fact.id, cursor=str(Cursor(epoch, place)))
    return made


def _made(fact: Envelope, fraction: float) -> Iterator[Message]:
    match fact.data:
        case Accepted() as data:
            yield _started(fact, data.status)
            yield from _node(fact, NodeState.GENERATING)
        case Started():
            yield _progress(fact, fraction, message="started")
        case Progressed(progress=progress):
            seen = progress.preview_uri is not None
            # Unchecked: the fact was, and this is what a busy server does all day.
            yield ProgressMessage.model_construct(
                **_about(fact),
                progress=progress.fraction,
                step=progress.step,
                steps=progress.steps,
                message=progress.message or progress.phase or None,
                preview_url=preview_url(fact.name, progress.step or 0) if seen else None,
                status=ApiStatus.RUNNING,
                cursor=None,
            )
        case Previewed(step=step):
            yield _progress(fact, fraction, step=step, preview=preview_url(fact.name, step or 0))
        case Succeeded() as data:
            yield _complete(fact, data)
            yield from _node(fact, NodeState.COMPLETED)
        case Failed() | Rejected() as data:
            yield _error(fact, data.status)
            yield from _node(fact, NodeState.ERROR)
        case Cancelled() as data:
            yield _cancelled(fact, data.status)
            yield from _node(fact, NodeState.IDLE)
        case _:
            return


def _about(fact: Envelope) -> dict[str, Any]:
    """The fields that every message about a job shares."""
    return {
        "id": fact.id,
        "project_id": fact.project,
        "timestamp": fact.time,
        "task_id": fact.name,
        "node_id": fact.node_id or None,
    }


def _started(fact: Envelope, status: GenerationJobStatus) -> TaskStarted:
    plan = status.plan
    return TaskStarted.model_validate(
        _about(fact)
        | {
            "function": plan.function if plan else "",
            "quality": plan.tier.quality if plan else Quality.STANDARD,
        }
    )


def _progress(
    fact: Envelope, fraction: float, *, step: int | None = None, message: str | None = None, preview: str | None = None
) -> ProgressMessage:
    return ProgressMessage.model_validate(
        _about(fact)
        | {
            "progress": fraction,
            "step": step,
            "message": message,
            "preview_url": preview,
            "status": ApiStatus.RUNNING,
        }
    )


def accepted_at(status: GenerationJobStatus) -> datetime | None:
    condition = status.condition(ConditionType.ACCEPTED)
    return condition.last_transition_time if condition else None


def _complete(fact: Envelope, data: DecidedFact) -> Complete:
    status = data.status
    began, ended = accepted_at(status) or status.start_time, status.completion_time or fact.time
    metadata: dict[str, Any] = {"attempt": status.attempt, "warnings": list(status.warnings)}
    if plan := status.plan:
        metadata |= {
            "function": plan.function,
            "runner": plan.runner,
            "quality": plan.tier.quality.value,
            "pipeline": plan.tier.pipeline,
            "params": plan.params,
            "seed": plan.seed,
        }
    if status.cost:
        metadata |= {"cost_usd": format(status.cost.usd, "f"), "gpu_seconds": status.cost.gpu_seconds}
    return Complete.model_validate(
        _about(fact)
        | {
            "result": CompleteResult(outputs=output_replies(fact.name, status.outputs), metadata=metadata),
            "duration": max(0.0, (ended - began).total_seconds()) if began else 0.0,
        }
    )


def finish_message(status: GenerationJobStatus) -> str:
    """Why it is where it is, in a sentence."""
    if status.failure:
        return " ".join(part for part in (status.failure.message, status.failure.remedy) if part)
    order = (ConditionType.SUCCEEDED, ConditionType.RUNNING, ConditionType.DISPATCHED, ConditionType.ACCEPTED)
    found = (status.condition(kind) for kind in order)
    return next((condition.message for condition in found if condition and condition.message), "")


def _error(fact: Envelope, status: GenerationJobStatus) -> ErrorMessage:
    failure = status.failure
    condition = status.condition(ConditionType.SUCCEEDED) or status.condition(ConditionType.ACCEPTED)
    reason = failure.reason.value if failure else condition.reason.value if condition else "Failed"
    return ErrorMessage.model_validate(
        _about(fact)
        | {
            "error_code": reason,
            "message": finish_message(status) or "the job failed",
            "details": failure_reply(failure).model_dump(mode="json") if failure else None,
        }
    )


def _cancelled(fact: Envelope, status: GenerationJobStatus) -> ErrorMessage:
    by = f" by {status.cancelled_by}" if status.cancelled_by else ""
    return ErrorMessage.model_validate(
        _about(fact)
        | {
            "error_code": CANCELLED,
            "message": f"the job was cancelled{by}",
            "details": {"cancelled_by": status.cancelled_by} if status.cancelled_by else None,
        }
    )


def _node(fact: Envelope, state: NodeState) -> Iterator[NodeStateUpdated]:
    if fact.node_id:
        yield NodeStateUpdated.model_validate(_about(fact) | {"state": state})
