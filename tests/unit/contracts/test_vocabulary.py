"""The one table: conditions → phase → API status → node state."""

import itertools
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from auteur_contracts.resources import Condition, GenerationJobStatus, derive_phase
from auteur_contracts.vocabulary import (
    VIEWS,
    ApiStatus,
    ConditionStatus,
    ConditionType,
    Fault,
    NodeState,
    OpenWord,
    Phase,
    Priority,
    Reason,
    View,
)

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
T, F = ConditionStatus.TRUE, ConditionStatus.FALSE
Told = tuple[ConditionType, ConditionStatus, Reason]
ACCEPTED = (ConditionType.ACCEPTED, T, Reason.RESOLVED)
ORDERED = (ConditionType.DISPATCHED, T, Reason.ORDERED)
RUNS = (ConditionType.RUNNING, T, Reason.CLAIMED)
ENDED = (ConditionType.FINISHED, T, Reason.OUTPUTS_COMMITTED)


def status(*told: Told, failures: int = 0, losses: int = 0) -> GenerationJobStatus:
    conditions = tuple(
        Condition(type=kind, status=value, reason=reason, last_transition_time=SINCE) for kind, value, reason in told
    )
    return GenerationJobStatus(conditions=conditions, failures=failures, losses=losses)


def waits(reason: Reason) -> Told:
    return ConditionType.DISPATCHED, F, reason


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        (status(), Phase.PENDING),
        (status(ACCEPTED), Phase.QUEUED),
        (status(ACCEPTED, waits(Reason.WAITING_FOR_WORKER)), Phase.QUEUED),
        (status(ACCEPTED, waits(Reason.WAITING_FOR_INPUTS)), Phase.QUEUED),
        (status(ACCEPTED, waits(Reason.SUSPENDED)), Phase.SUSPENDED),
        (status(ACCEPTED, waits(Reason.SUSPENDED), failures=1), Phase.SUSPENDED),
        (status(ACCEPTED, waits(Reason.WAITING_TO_RETRY), failures=1), Phase.RETRYING),
        (status(ACCEPTED, waits(Reason.WAITING_FOR_WORKER), losses=1), Phase.RETRYING),
        (status(ACCEPTED, ORDERED), Phase.DISPATCHED),
        (status(ACCEPTED, ORDERED, RUNS), Phase.RUNNING),
        (status(ENDED, (ConditionType.SUCCEEDED, T, Reason.OUTPUTS_COMMITTED)), Phase.SUCCEEDED),
        (status(ENDED, (ConditionType.SUCCEEDED, F, Reason.CANCELLED)), Phase.CANCELLED),
        (status(ENDED, (ConditionType.SUCCEEDED, F, Reason.WORKER_LOST)), Phase.FAILED),
        (status(ENDED), Phase.FAILED),
        (status(ACCEPTED, ORDERED, RUNS, ENDED), Phase.FAILED),
    ],
)
def test_conditions_decide_the_phase(given: GenerationJobStatus, phase: Phase) -> None:
    assert derive_phase(given) is phase
    assert given.view is VIEWS[phase]


def test_any_combination_of_conditions_has_a_phase_and_every_phase_comes_from_one() -> None:
    seen = set()
    for reason in (Reason.SUSPENDED, Reason.CANCELLED, Reason.IN_PROGRESS):
        said = [
            [(), *(status((kind, value, reason)).conditions for value in ConditionStatus)] for kind in ConditionType
        ]
        for chosen in itertools.product(*said):
            conditions = tuple(itertools.chain(*chosen))
            for failures in (0, 1):
                seen.add(derive_phase(GenerationJobStatus.model_construct(conditions=conditions, failures=failures)))
    assert seen == set(Phase)


def test_the_table_as_the_api_and_the_canvas_show_it() -> None:
    assert list(VIEWS.values()) == [
        View(Phase.PENDING, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.QUEUED, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.SUSPENDED, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.DISPATCHED, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.RETRYING, ApiStatus.QUEUED, NodeState.GENERATING),
        View(Phase.RUNNING, ApiStatus.RUNNING, NodeState.GENERATING),
        View(Phase.SUCCEEDED, ApiStatus.DONE, NodeState.COMPLETED),
        View(Phase.FAILED, ApiStatus.FAILED, NodeState.ERROR),
        View(Phase.CANCELLED, ApiStatus.CANCELLED, NodeState.IDLE),
    ]


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_in_the_table(phase: Phase) -> None:
    assert VIEWS[phase].phase is phase


def test_an_api_status_is_finished_exactly_where_its_phase_is() -> None:
    ends = {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}
    assert {view.phase for view in VIEWS.values() if view.api.finished} == ends


def test_high_goes_before_normal_before_low() -> None:
    assert sorted(Priority, key=lambda priority: priority.rank) == [Priority.HIGH, Priority.NORMAL, Priority.LOW]


@pytest.mark.parametrize("words", [Reason, ConditionType, Phase, Fault])
def test_a_word_of_a_newer_version_is_kept_and_is_none_of_ours(words: type[OpenWord]) -> None:
    read: TypeAdapter[OpenWord] = TypeAdapter(words)
    word = read.validate_python("Levitating")
    assert (word, word.value, read.dump_json(word)) == ("Levitating", "Levitating", b'"Levitating"')
    assert word not in list(words)
    assert {words("Levitating"): 1}[word] == 1
    with pytest.raises(ValidationError):
        read.validate_python(7)


def test_words_that_nobody_here_knows_decide_nothing() -> None:
    strange = Reason("Levitating")
    assert derive_phase(status((ConditionType.ACCEPTED, T, strange), (ConditionType.DISPATCHED, F, strange))) is (
        Phase.QUEUED
    )
    ended = (ConditionType.FINISHED, T, strange)
    assert derive_phase(status(ended, (ConditionType.SUCCEEDED, T, strange))) is Phase.SUCCEEDED
    assert derive_phase(status(ended, (ConditionType.SUCCEEDED, F, strange))) is Phase.FAILED
    assert derive_phase(status((ConditionType("Finishing"), T, strange))) is Phase.PENDING
