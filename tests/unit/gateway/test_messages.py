"""Facts → messages: one table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auteur_contracts.events import (
    Accepted,
    Cancelled,
    Dispatched,
    Envelope,
    FactData,
    Failed,
    Logged,
    Previewed,
    Progressed,
    Queued,
    Rejected,
    Started,
    Succeeded,
)
from auteur_contracts.resources import Condition, Failure, GenerationJobStatus, Output, Plan, Progress, Tier
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Fault, Quality, Reason
from auteur_contracts.web.http import FailureReply
from auteur_contracts.web.socket import ErrorMessage
from auteur_gateway.messages import messages_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLAN = Plan(
    function="text-to-image",
    runner="echo",
    pool="echo",
    tier=Tier(quality=Quality.DRAFT, pipeline="echo-draft"),
    params={"prompt": "a star", "seed": 7},
    seed=7,
)
PICTURE = Output(name="image.png", uri="s3://b/k/image.png", media_type="image/png", sha256="0" * 64, bytes=7)
OUT_OF_MEMORY = Failure(
    fault=Fault.FUNCTION, reason=Reason.OUT_OF_MEMORY, message="It did not fit.", remedy="Ask for draft."
)


def status(**fields: Any) -> GenerationJobStatus:
    accepted = Condition(
        type=ConditionType.ACCEPTED, status=ConditionStatus.TRUE, reason=Reason.RESOLVED, last_transition_time=NOON
    )
    return GenerationJobStatus(conditions=(accepted,), plan=PLAN, attempt=1, **fields)


def fact(data: FactData, node_id: str = "node-1") -> Envelope:
    return Envelope(
        id="fact",
        source="engine",
        time=NOON,
        namespace="default",
        project="demo",
        name="star",
        uid="uid",
        node_id=node_id,
        data=data,
    )


DONE = status(outputs=(PICTURE,), completion_time=NOON + timedelta(seconds=3), warnings=("mauve?",))
_PROGRESS = Progress(phase="denoise", fraction=0.4, step=4, steps=10)
_WITH_PREVIEW = _PROGRESS.model_copy(update={"preview_uri": "s3://b/p.webp"})


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            Accepted(version=1, status=status()),
            [
                {"type": "task_started", "function": "text-to-image", "quality": "draft", "cursor": "e-5.1"},
                {"type": "node_state_updated", "state": "generating", "cursor": "e-5.2", "id": "fact.1"},
            ],
        ),
        (Queued(version=1, status=status()), []),
        (Dispatched(version=1, status=status()), []),
        (Logged(stream="stdout", line="hello"), []),
        (
            Started(attempt=1, worker="w"),
            [{"type": "progress", "progress": 0.3, "message": "started", "status": "running", "cursor": "e-5"}],
        ),
        (
            Progressed(attempt=1, progress=_PROGRESS),
            [{"type": "progress", "progress": 0.4, "step": 4, "steps": 10, "message": "denoise", "preview_url": None}],
        ),
        (
            Progressed(attempt=1, progress=_WITH_PREVIEW),
            [{"type": "progress", "preview_url": "/v1/generations/star/preview?v=4"}],
        ),
        (
            Previewed(attempt=1, uri="s3://b/p.webp", step=5),
            [{"type": "progress", "progress": 0.3, "step": 5, "preview_url": "/v1/generations/star/preview?v=5"}],
        ),
        (
            Succeeded(version=2, status=DONE),
            [{"type": "complete", "duration": 3.0}, {"type": "node_state_updated", "state": "completed"}],
        ),
        (
            Failed(version=2, status=status(failure=OUT_OF_MEMORY)),
            [
                {"type": "error", "error_code": "OutOfMemory", "message": "It did not fit. Ask for draft."},
                {"type": "node_state_updated", "state": "error"},
            ],
        ),
        (
            Rejected(version=0, status=status()),
            [{"type": "error", "error_code": "Resolved"}, {"type": "node_state_updated", "state": "error"}],
        ),
        (
            Cancelled(version=2, status=status(cancelled_by="api")),
            [
                {"type": "error", "error_code": "cancelled", "message": "the job was cancelled by api"},
                {"type": "node_state_updated", "state": "idle"},
            ],
        ),
    ],
)
def test_what_a_fact_says_to_a_page(data: FactData, expected: list[dict[str, Any]]) -> None:
    made = [message.model_dump(mode="json") for message in messages_of(fact(data), "e", 5, 0.3)]
    assert [
        {name: message[name] for name in wanted} for message, wanted in zip(made, expected, strict=True)
    ] == expected
    assert {message["task_id"] for message in made} <= {"star"}


def test_without_a_node_there_are_no_messages_about_one() -> None:
    made = messages_of(fact(Succeeded(version=2, status=DONE), node_id=""), "e", 5, 0.0)
    assert [(message.type, message.cursor, message.node_id) for message in made] == [("complete", "e-5", None)]


def test_a_result_says_how_it_was_made() -> None:
    (complete, _) = messages_of(fact(Succeeded(version=2, status=DONE)), "e", 5, 0.0)
    assert complete.type == "complete"
    assert complete.result.outputs[0].url == "/v1/generations/star/outputs/image.png"
    assert complete.result.metadata == {
        "attempt": 1,
        "warnings": ["mauve?"],
        "function": "text-to-image",
        "runner": "echo",
        "quality": "draft",
        "pipeline": "echo-draft",
        "params": {"prompt": "a star", "seed": 7},
        "seed": 7,
    }


def test_a_failure_in_words_of_another_version_is_told_as_it_is() -> None:
    strange = OUT_OF_MEMORY.model_copy(update={"reason": Reason("Hailed"), "fault": Fault("weather")})
    (told, *_) = messages_of(fact(Failed(version=1, status=status(failure=strange))), "epoch", 1, 0.0)
    assert isinstance(told, ErrorMessage)
    assert (told.error_code, (told.details or {})["fault"]) == ("Hailed", "weather")
    reply = FailureReply.model_validate(told.details)
    assert (reply.reason, reply.fault) == ("Hailed", "weather")
