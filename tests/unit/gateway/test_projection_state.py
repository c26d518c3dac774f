"""What is known of a job, by facts and answers in any order; the time is a number."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from auteur_contracts import names
from auteur_contracts.commands import Snapshot
from auteur_contracts.events import Accepted, Envelope, FactData, Rejected, Started, Succeeded
from auteur_contracts.resources import (
    Condition,
    GenerationJob,
    GenerationJobSpec,
    GenerationJobStatus,
    ObjectMeta,
    QueueStatus,
)
from auteur_contracts.vocabulary import ApiStatus, ConditionStatus, ConditionType, Reason
from auteur_gateway.database.tables import JobRow
from auteur_gateway.drafts import row_of
from auteur_gateway.projection.state import PAGE, State, Tracked, lost, request_id_of
from auteur_lifecycle.refusal import Refusal

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATIENCE = 30.0


def status(*kinds: ConditionType, **fields: object) -> GenerationJobStatus:
    conditions = tuple(
        Condition(type=kind, status=ConditionStatus.TRUE, reason=Reason.RESOLVED, message="", last_transition_time=NOW)
        for kind in kinds
    )
    return GenerationJobStatus.model_validate({"conditions": conditions, **fields})


ACCEPTED = status(ConditionType.ACCEPTED)
DONE = status(ConditionType.ACCEPTED, ConditionType.FINISHED, ConditionType.SUCCEEDED, attempt=1)


def job(name: str = "star", request_id: str = "r-1", uid: str = "") -> GenerationJob:
    return GenerationJob(
        metadata=ObjectMeta(name=name, uid=uid, annotations={names.ANNOTATION_REQUEST_ID: request_id}),
        spec=GenerationJobSpec(function="text-to-image", params={"prompt": "a star"}),
    )


def row(number: int = 1, name: str = "star", request_id: str = "r-1") -> JobRow:
    return row_of(job(name, request_id), number, NOW)


def fact(data: FactData, *, uid: str = "u-1", name: str = "star", request_id: str = "r-1") -> Envelope:
    return Envelope(
        id="e",
        source="engine",
        time=NOW,
        namespace="default",
        project="default",
        name=name,
        uid=uid,
        request_id=request_id,
        data=data,
    )


def snapshot(now: GenerationJobStatus, version: int, *, uid: str = "u-1", request_id: str = "r-1") -> Snapshot:
    return Snapshot(job=job(request_id=request_id, uid=uid).model_copy(update={"status": now}), version=version)


def knowing(*rows: JobRow, reused: Iterable[str] = ()) -> State:
    state = State()
    state.track(rows or [row()], 0.0, reused=frozenset(reused))
    return state


def tracked(state: State, name: str = "star") -> Tracked:
    found = state.named(name)
    assert found is not None
    return found


def test_a_fact_binds_the_uid_and_is_to_be_written() -> None:
    state = knowing()
    state.hear(fact(Accepted(version=3, status=ACCEPTED)), 1.0)
    (written,) = state.take_changes().rows
    assert (written.uid, written.version, written.status) == ("u-1", 3, ACCEPTED)
    assert not state.has_changes


def test_facts_and_answers_in_words_of_another_version_count() -> None:
    strange = DONE.model_dump(mode="json") | {"phase": "Dreaming", "mood": "serene"}
    for told in strange["conditions"]:
        told["reason"] = "Levitating"
    sent = fact(Succeeded(version=5, status=DONE)).model_dump(mode="json")
    sent["data"]["status"] = strange
    by_fact, by_answer = knowing(), knowing()
    by_fact.hear(Envelope.model_validate(sent), 1.0)
    assert by_answer.take_answer(snapshot(GenerationJobStatus.model_validate(strange), 5), 1.0)
    for state in (by_fact, by_answer):
        (written,) = state.take_changes().rows
        assert (written.state, written.version) == (ApiStatus.DONE, 5)
        assert json.loads(written.columns()["status"])["mood"] == "serene"


@pytest.mark.parametrize("versions", [(3, 5), (5, 3), (5, 5)])
def test_the_highest_version_stays_in_whatever_order_facts_come(versions: tuple[int, int]) -> None:
    state = knowing()
    for version in versions:
        ended = DONE if version == 5 else ACCEPTED
        state.hear(fact(Accepted(version=version, status=ended)), 1.0)
    assert state.seen(row(), 2.0).status == DONE


def test_a_workers_word_shows_before_the_status_says_so_and_is_marked_once() -> None:
    state = knowing()
    state.hear(fact(Started(attempt=1, worker="w")), 1.0)
    state.hear(fact(Started(attempt=1, worker="w")), 1.1)
    assert state.seen(row(), 2.0).view.api is ApiStatus.RUNNING
    assert state.take_changes().started == {1}


def test_a_rejection_has_no_version_and_counts_all_the_same() -> None:
    state = knowing()
    state.hear(fact(Accepted(version=3, status=ACCEPTED)), 1.0)
    state.hear(fact(Rejected(version=0, status=DONE)), 2.0)
    assert tracked(state).row.version == 4


def test_a_fact_of_nobody_known_is_a_question_unless_its_job_is_closed() -> None:
    state = knowing()
    state.hear(fact(Accepted(version=3, status=ACCEPTED), uid="u-9", name="ring", request_id="r-9"), 1.0)
    assert state.take_unknown() == {"ring"}
    assert not state.has_unknown

    state.close("u-9")
    state.hear(fact(Accepted(version=4, status=ACCEPTED), uid="u-9", name="ring", request_id="r-9"), 2.0)
    assert not state.has_unknown


def test_a_fact_of_another_job_of_the_same_name_is_not_taken_for_ours() -> None:
    state = knowing()
    state.hear(fact(Succeeded(version=9, status=DONE), uid="u-old", request_id="r-old"), 1.0)
    assert state.seen(row(), 2.0).view.api is ApiStatus.QUEUED
    assert state.take_unknown() == {"star"}


@pytest.mark.parametrize(("reused", "believed"), [((), True), (("star",), False)])
def test_a_fact_without_request_id_counts_where_the_name_was_never_used_before(
    reused: tuple[str, ...], *, believed: bool
) -> None:
    state = knowing(reused=reused)
    state.hear(fact(Started(attempt=1, worker="w"), request_id=""), 1.0)
    assert (tracked(state).row.uid == "u-1") is believed


def test_what_could_not_be_written_is_written_later_and_never_over_newer_news() -> None:
    state = knowing()
    state.hear(fact(Accepted(version=3, status=ACCEPTED)), 1.0)
    changes = state.take_changes()
    state.hear(fact(Succeeded(version=5, status=DONE)), 2.0)
    state.put_back(changes)
    (written,) = state.take_changes().rows
    assert (written.version, written.finished) == (5, True)


def test_a_row_read_before_its_job_was_archived_shows_the_end() -> None:
    state = knowing()
    state.hear(fact(Succeeded(version=5, status=DONE)), 1.0)
    (written,) = state.take_changes().rows
    state.archived(written)
    assert len(state) == 0
    assert state.seen(row(), 2.0).status == DONE
    assert state.current(row()).finished
    state.hear(fact(Accepted(version=3, status=ACCEPTED)), 3.0)
    assert not state.has_changes
    assert not state.has_unknown


def test_an_answer_counts_as_news_and_brings_the_place_in_the_queue() -> None:
    state = knowing()
    placed = ACCEPTED.model_copy(update={"queue": QueueStatus(position=4)})
    assert state.take_answer(snapshot(placed, 3), 10.0)
    (written,) = state.take_changes().rows
    assert written.status == ACCEPTED, "a place is true for seconds and is not stored"
    seen = state.seen(row(), 11.0).status.queue
    assert seen is not None
    assert seen.position == 4
    assert not state.take_answer(snapshot(ACCEPTED, 1, uid="u-9", request_id="r-9"), 10.0)


def test_who_only_waits_is_asked_for_less_and_less_often() -> None:
    state = knowing()
    state.take_answer(snapshot(ACCEPTED, 3), 0.0)  # news
    assert state.silent(PATIENCE + 1, PATIENCE) == ["star"]
    state.take_answer(snapshot(ACCEPTED, 3), 100.0)  # no news
    assert state.silent(100 + PATIENCE + 1, PATIENCE) == []
    assert state.silent(100 + 2 * PATIENCE + 1, PATIENCE) == ["star"]


def test_places_are_asked_for_a_page_at_a_time_and_those_that_are_viewed_first() -> None:
    state = knowing(*(row(number, f"star-{number}", f"r-{number}") for number in range(1, PAGE + 3)))
    last = f"star-{PAGE + 2}"
    state.seen(tracked(state, last).row, 99.0)
    first = state.stale_places(100.0)
    assert (len(first), first[0]) == (PAGE, last)
    assert len(state.stale_places(100.1)) == 2, "then the others"
    assert state.stale_places(100.2) == []


def test_pages_of_names_stay_within_what_an_answer_can_hold() -> None:
    state = State()
    unknown = [f"job-{number}" for number in range(100)]
    pages = list(state.pages(unknown))
    assert [name for page in pages for name in page] == unknown
    assert max(map(len, pages)) <= 32


def test_a_command_that_the_bus_refuses_fails_only_the_job_it_was_to_make() -> None:
    state = knowing()
    refusal = Refusal(Reason.INVALID_REQUEST, "Too large.")
    state.refuse("star", "another-request", refusal, NOW)
    assert not state.has_changes
    state.refuse("star", "r-1", refusal, NOW)
    (written,) = state.take_changes().rows
    assert written.finished


def test_a_job_whose_resource_is_gone_has_ended() -> None:
    ended = lost(replace(row(), version=3, status=ACCEPTED), NOW)
    assert (ended.version, ended.status.finished, ended.status.view.api) == (4, True, ApiStatus.CANCELLED)


def test_a_job_of_no_gateway_is_known_by_its_uid() -> None:
    bare = GenerationJob(metadata=ObjectMeta(name="x", uid="u-7"), spec=GenerationJobSpec(function="f"))
    assert request_id_of(Snapshot(job=bare, version=1)) == "uid:u-7"
