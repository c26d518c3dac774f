"""What a worker said, over what was decided."""

from datetime import UTC, datetime
from typing import Any

from auteur_contracts.events import Envelope, FactData, Previewed, Progressed, Started
from auteur_contracts.resources import Condition, GenerationJobStatus, Progress, QueueStatus
from auteur_contracts.vocabulary import ApiStatus, ConditionStatus, ConditionType, Phase, Reason
from auteur_gateway.overlay import Live, hear, overlay

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def fact(data: FactData) -> Envelope:
    return Envelope(
        id="x",
        source="w",
        time=NOON,
        namespace="default",
        project="demo",
        name="star",
        uid="u",
        data=data,
    )


def status(*kinds: ConditionType, **fields: Any) -> GenerationJobStatus:
    conditions = tuple(
        Condition(type=kind, status=ConditionStatus.TRUE, reason=Reason.RESOLVED, last_transition_time=NOON)
        for kind in kinds
    )
    return GenerationJobStatus(conditions=conditions, **fields)


def heard(*facts: FactData) -> Live:
    live = Live()
    for data in facts:
        live = hear(live, fact(data))
    return live


HALF = Progressed(attempt=1, progress=Progress(phase="denoise", fraction=0.5))
DISPATCHED = status(ConditionType.ACCEPTED, ConditionType.DISPATCHED, attempt=1)


def test_a_job_runs_as_soon_as_its_worker_says_so() -> None:
    seen = overlay(DISPATCHED, heard(Started(attempt=1, worker="w"), HALF, Previewed(attempt=1, uri="s3://b/p")))
    assert (seen.view.api, seen.status.phase, seen.status.worker) == (ApiStatus.RUNNING, Phase.RUNNING, "w")
    assert seen.status.progress == Progress(phase="denoise", fraction=0.5, preview_uri="s3://b/p")


def test_a_finished_job_is_not_reopened_by_a_late_word() -> None:
    finished = status(ConditionType.ACCEPTED, ConditionType.FINISHED, ConditionType.SUCCEEDED, attempt=1)
    assert overlay(finished, heard(HALF)).view.api is ApiStatus.DONE


def test_a_job_that_waits_for_its_next_attempt_does_not_run() -> None:
    waiting = status(ConditionType.ACCEPTED, attempt=1, failures=1)
    assert overlay(waiting, heard(HALF)).view.phase is Phase.RETRYING
    second = Progressed(attempt=2, progress=Progress(phase="denoise", fraction=0.1))
    assert overlay(waiting, heard(HALF, second)).status.progress == second.progress


def test_an_older_attempt_says_nothing_any_more() -> None:
    live = heard(Started(attempt=2, worker="b"), HALF)
    assert (live.attempt, live.worker, live.progress) == (2, "b", None)


def test_a_new_attempt_begins_without_the_progress_of_the_one_before() -> None:
    first = status(ConditionType.ACCEPTED, attempt=1, failures=1, progress=Progress(phase="denoise", fraction=0.9))

    assert overlay(first, heard(Started(attempt=2, worker="b"))).status.progress is None


def test_only_a_job_that_waits_has_a_place_in_the_queue() -> None:
    place = QueueStatus(position=3)
    assert overlay(status(ConditionType.ACCEPTED), Live(), place).status.queue == place
    assert overlay(DISPATCHED, Live(), place).status.queue is None
    assert overlay(DISPATCHED, heard(HALF), place).status.queue is None
