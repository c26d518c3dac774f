"""The last word of a pod: whole where it fits, shortened where it does not, and always JSON; and the exit code."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.orders import (
    MAX_TERMINATION_BYTES,
    ClaimRefused,
    Order,
    Outcome,
    RefusalReason,
    Report,
    TerminationMessage,
)
from auteur_contracts.resources import Failure, Output
from auteur_contracts.vocabulary import Fault, Reason
from auteur_runner.agent import termination

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORDER = Order(namespace="default", project="film", name="alley", uid="u1", attempt=2, pool="echo")
OWN = {"load_seconds": 1.0, "run_seconds": 2.0, "upload_seconds": 0.5}


def report(**changes: object) -> Report:
    told = Report(
        namespace="default",
        name="alley",
        uid="4a0b9f5e-8a3e-4e0e-9d0b-0d9d9f6a7c11",
        attempt=2,
        worker="alley-2-x7xq2",
        token="secret",
        outcome=Outcome.SUCCEEDED,
        metrics=OWN,
        started_at=NOON,
        finished_at=NOON,
    )
    return told.model_copy(update=changes)


def output(number: int) -> Output:
    name = f"frame-{number:03}.png"
    uri = f"s3://auteur/default/film/jobs/4a0b9f5e-8a3e-4e0e-9d0b-0d9d9f6a7c11/2/{name}"
    return Output(name=name, uri=uri, media_type="image/png", sha256="0" * 64, bytes=10, width=64, height=64)


def failure(lines: int = 0, width: int = 100) -> Failure:
    tail = tuple(f"{number:02} {'x' * (width - 3)}" for number in range(lines))
    return Failure(fault=Fault.FUNCTION, reason=Reason.FUNCTION_FAILED, message="no", remedy="do", log_tail=tail)


def read(said: bytes) -> TerminationMessage:
    assert len(said) <= MAX_TERMINATION_BYTES
    return TerminationMessage.model_validate_json(said)


def test_what_fits_is_left_whole_without_the_token() -> None:
    whole = report(outputs=(output(1), output(2)), warnings=("w",), metrics={**OWN, "faces": 3.0})
    said = termination.to_bytes(termination.from_report(whole))
    assert b"secret" not in said
    assert read(said).report == whole.model_copy(update={"token": ""})
    assert not read(said).truncated


def test_the_middle_of_a_log_goes_first_and_its_end_stays() -> None:
    word = read(termination.to_bytes(termination.from_report(report(outcome=Outcome.FAILED, failure=failure(20, 500)))))
    assert word.failure is not None
    assert (word.failure.message, word.failure.remedy) == ("no", "do")
    assert [line[:2] for line in word.failure.log_tail] == [f"{number}" for number in range(12, 20)]
    assert {len(line) for line in word.failure.log_tail} == {160}


def test_the_functions_figures_go_before_the_outputs() -> None:
    noisy = report(outputs=(output(1),), metrics={**OWN, **{f"a-figure-of-the-function-{n}": 1.0 for n in range(97)}})
    word = read(termination.to_bytes(termination.from_report(noisy)))
    assert (word.metrics, len(word.outputs), word.truncated) == (OWN, 1, False)


def test_outputs_that_do_not_fit_are_left_out_from_the_end_and_it_says_so() -> None:
    word = read(termination.to_bytes(termination.from_report(report(outputs=tuple(map(output, range(256)))))))
    assert word.truncated
    assert len(word.outputs) > 5
    assert word.outputs == tuple(map(output, range(len(word.outputs))))


def test_a_failure_is_shortened_no_further_than_it_must_be() -> None:
    long = failure().model_copy(update={"message": "m" * 2000, "remedy": "r" * 1000})
    word = read(termination.to_bytes(termination.from_report(report(outcome=Outcome.FAILED, failure=long))))
    assert word.failure is not None
    assert word.failure.message == "m" * 1023 + "…"
    assert word.failure.remedy == "r" * 1000


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
# Text as long as the models allow, made of few draws: what matters is how many bytes a character becomes.
LONG = st.builds(lambda char, count: char * count, st.sampled_from('aé\x01…😀\n"'), st.integers(0, 1024))
LINES = st.lists(LONG.map(lambda text: text[:512]), max_size=20).map(tuple)


@given(
    message=LONG | TEXT,
    remedy=LONG,
    tail=LINES,
    warnings=LINES,
    outputs=st.integers(0, 256),
    metrics=st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=20),
    worker=st.text("abc-", max_size=128),
)
def test_whatever_a_report_says_the_message_fits_and_parses(
    message: str,
    remedy: str,
    tail: tuple[str, ...],
    warnings: tuple[str, ...],
    outputs: int,
    metrics: dict[str, float],
    worker: str,
) -> None:
    failed = Failure(
        fault=Fault.USER, reason=Reason.INVALID_INPUT, message=message, remedy=remedy, log_tail=tail, recycle=True
    )
    told = report(
        outcome=Outcome.FAILED,
        failure=failed,
        warnings=warnings,
        outputs=tuple(map(output, range(outputs))),
        metrics=metrics | OWN,
        worker=worker,
    )
    word = read(termination.to_bytes(termination.from_report(told)))
    assert (word.outcome, word.uid, word.worker) == (Outcome.FAILED, told.uid, worker)
    assert word.failure is not None
    assert (word.failure.fault, word.failure.reason, word.failure.recycle) == (Fault.USER, Reason.INVALID_INPUT, True)
    assert word.truncated == (len(word.outputs) < outputs)
    assert {name: word.metrics[name] for name in OWN} == OWN


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.SUCCEEDED, 0), (Outcome.CANCELLED, 0), (Outcome.FAILED, 1), (Outcome.HANDED_BACK, 75)],
)
def test_the_exit_code_of_an_attempt(outcome: Outcome, code: int) -> None:
    assert termination.exit_code(termination.from_report(report(outcome=outcome))) == code


def test_a_refused_claim_leaves_nothing_to_do() -> None:
    refused = ClaimRefused(reason=RefusalReason.STALE, message="attempt 2 of alley: stale")
    word = termination.from_refusal(ORDER, "w", refused)
    assert termination.exit_code(word) == 0
    assert read(termination.to_bytes(word)) == word
    assert (word.report, word.refused) == (None, RefusalReason.STALE)
    assert word.message == "The claim was refused: attempt 2 of alley: stale"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (termination.claim_unanswered(ORDER, "w", 120), "Nobody answered the claim within 120 s."),
        (termination.bus_unreachable(ORDER, "w", "NATS is away"), "The claim could not be asked for: NATS is away."),
        (termination.stopped_before_claim(ORDER, "w"), "The worker was told to stop before its claim was answered."),
    ],
)
def test_what_could_not_be_claimed_is_offered_again(word: TerminationMessage, message: str) -> None:
    assert (termination.exit_code(word), word.message, word.report) == (75, message, None)
