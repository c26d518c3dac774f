"""What an agent decides, with literals: endings become reports, failures name the fault, lines are counted."""

from datetime import UTC, datetime

import pytest

from auteur_contracts.errors import AuteurError, InvalidRequest, NotFound, Unavailable
from auteur_contracts.events import Started
from auteur_contracts.orders import Grant, Order, Outcome, UploadForm
from auteur_contracts.resources import Failure, Output, Plan, PlannedInput, Tier, TierDeclaration
from auteur_contracts.vocabulary import Fault, Quality, Reason
from auteur_kit.store import LinkRefused
from auteur_runner import protocol
from auteur_runner.agent.agent import Claims
from auteur_runner.agent.decisions import (
    RunRecord,
    Stop,
    Timings,
    Verdict,
    agent_failed,
    deadline_exceeded,
    decide_outcome,
    fact_of,
    first_tier,
    input_failed,
    output_failed,
    refused_runner,
    report_of,
    report_refused,
    result_json,
)
from auteur_runner.describe import describe
from auteur_runner.function import Runner
from auteur_runner.log_limiter import LogLimiter
from tests.support.echo import Echo

FAILURE = Failure(fault=Fault.FUNCTION, reason=Reason.FUNCTION_FAILED, message="no")
DONE = protocol.Succeeded(outputs=())
FAILED = protocol.Failed(failure=FAILURE)
ORDER = Order(namespace="default", project="film", name="alley", uid="u1", attempt=2, pool="echo")
TIER = Tier(quality=Quality.DRAFT, pipeline="echo")
GRANT = Grant(
    token="secret",
    plan=Plan(function="echo", runner="echo", pool="echo", tier=TIER, params={}),
    deadline_seconds=60,
    upload=UploadForm(url="http://store", fields={}, prefix="p/", bucket="b", max_bytes=1),
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ending", "stop", "verdict"),
    [
        (DONE, None, Verdict(Outcome.SUCCEEDED)),
        (DONE, Stop.CANCELLED, Verdict(Outcome.SUCCEEDED)),
        (DONE, Stop.DEADLINE, Verdict(Outcome.SUCCEEDED)),
        (FAILED, None, Verdict(Outcome.FAILED, FAILURE)),
        (FAILED, Stop.CANCELLED, Verdict(Outcome.CANCELLED)),
        (FAILED, Stop.DRAIN, Verdict(Outcome.HANDED_BACK)),
        (protocol.Cancelled(), Stop.CANCELLED, Verdict(Outcome.CANCELLED)),
        (protocol.Cancelled(forced=True), Stop.DRAIN, Verdict(Outcome.HANDED_BACK)),
        (protocol.Cancelled(forced=True), Stop.DEADLINE, Verdict(Outcome.FAILED, deadline_exceeded(60))),
    ],
)
def test_how_an_attempt_ended(ending: protocol.Ending, stop: Stop | None, verdict: Verdict) -> None:
    assert decide_outcome(ending, stop, 60) == verdict


def test_a_cancel_that_nobody_asked_for_is_the_functions_fault() -> None:
    failure = decide_outcome(protocol.Cancelled(), None, 60).failure
    assert failure is not None
    assert (failure.fault, failure.message) == (
        Fault.FUNCTION,
        "The function raised JobCancelled, but nobody cancelled the job.",
    )


INPUTS = (
    PlannedInput(name="image", uri="s3://b/default/film/uploads/cat.png"),
    PlannedInput(name="voice", job="voice-1", output="voice.wav"),
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image", 'Input "image" is not in the store: there is no s3://b/default/film/uploads/cat.png.'),
        ("voice", 'Input "voice" is not in the store: there is no output voice.wav of job voice-1 any more.'),
    ],
)
def test_an_input_that_is_not_there_is_the_users_to_mend(name: str, message: str) -> None:
    assert input_failed(NotFound("404"), name, INPUTS) == Failure(
        fault=Fault.USER,
        reason=Reason.INVALID_INPUT,
        message=message,
        remedy="Upload it first, or name another job's output.",
    )


@pytest.mark.parametrize("error", [Unavailable("the store does not answer"), LinkRefused("the link has expired")])
def test_an_input_that_may_come_the_next_time_is_the_platforms_fault(error: AuteurError) -> None:
    failure = input_failed(error, "image", INPUTS)
    assert (failure.fault, failure.reason) == (Fault.PLATFORM, Reason.PLATFORM_FAILED)
    assert failure.message == f'Input "image" could not be fetched: {error.message}'


@pytest.mark.parametrize(
    ("error", "fault", "reason"),
    [
        (Unavailable("the store does not answer"), Fault.PLATFORM, Reason.PLATFORM_FAILED),
        (LinkRefused("the form has expired"), Fault.PLATFORM, Reason.PLATFORM_FAILED),
        (InvalidRequest("a.mp4 is too large"), Fault.FUNCTION, Reason.FUNCTION_FAILED),
    ],
)
def test_an_output_that_cannot_be_stored_names_the_file_and_the_fault(
    error: AuteurError, fault: Fault, reason: Reason
) -> None:
    failure = output_failed(error, "a.mp4")
    message = f"a.mp4 could not be stored: {error.message}"
    assert (failure.fault, failure.reason, failure.message) == (fault, reason, message)


def test_a_full_disk_is_told_as_that() -> None:
    failure = agent_failed(OSError(28, "No space left on device", "/scratch/cat.png"))
    assert failure.message == "The worker's machine: [Errno 28] No space left on device: '/scratch/cat.png'"


def test_a_report_has_the_figures_and_its_copy_no_token() -> None:
    record = RunRecord()
    record.hear(protocol.Metric(name="strokes", value=2))
    for _ in range(2):
        record.hear(protocol.Warned(text="unknown word"))
    output = Output(name="a", uri="s3://b/p/a", media_type="text/plain", sha256="0" * 64, bytes=1)
    report = report_of(
        ORDER,
        GRANT,
        "echo-1",
        Verdict(Outcome.SUCCEEDED),
        outputs=(output,),
        record=record,
        timings=Timings(run_seconds=1.5),
        started_at=NOON,
        finished_at=NOON,
    )
    assert report.metrics == {"strokes": 2, "load_seconds": 0, "run_seconds": 1.5, "upload_seconds": 0}
    assert report.warnings == ("unknown word",)
    assert report.outputs == (output,)
    assert report.token == "secret"
    assert "secret" not in result_json(report)


def test_a_report_that_nats_will_not_take_becomes_a_small_failure() -> None:
    record = RunRecord()
    record.hear(protocol.Metric(name="strokes", value=2))
    record.hear(protocol.Warned(text="unknown word"))
    report = report_of(
        ORDER,
        GRANT,
        "echo-1",
        Verdict(Outcome.SUCCEEDED),
        outputs=(Output(name="a", uri="s3://b/p/a", media_type="text/plain", sha256="0" * 64, bytes=1),),
        record=record,
        timings=Timings(run_seconds=1.5),
        started_at=NOON,
        finished_at=NOON,
    )
    small = report_refused(report, "a message has 9 bytes; this NATS takes at most 8")
    assert (small.outcome, small.outputs, small.warnings) == (Outcome.FAILED, (), ())
    assert small.metrics == {"load_seconds": 0, "run_seconds": 1.5, "upload_seconds": 0}
    assert (small.token, small.attempt) == (report.token, report.attempt)
    assert small.failure is not None
    assert small.failure.message.endswith("a message has 9 bytes; this NATS takes at most 8.")


def test_outputs_of_an_attempt_that_did_not_succeed_are_not_reported() -> None:
    output = Output(name="a", uri="s3://b/p/a", media_type="text/plain", sha256="0" * 64, bytes=1)
    verdict = Verdict(Outcome.CANCELLED)
    report = report_of(
        ORDER,
        GRANT,
        "w",
        verdict,
        outputs=(output,),
        record=RunRecord(),
        timings=Timings(),
        started_at=NOON,
        finished_at=NOON,
    )
    assert report.outputs == ()


def test_facts_of_one_attempt_have_ids_of_their_own_and_the_same_ones_again() -> None:
    def fact(number: int) -> str:
        return fact_of(ORDER, "node", "echo-1", Started(attempt=2, worker="echo-1"), number, NOON).id

    assert fact(1) == fact(1)
    assert fact(1) != fact(2)


def test_a_worker_makes_standard_ready_first_or_what_there_is() -> None:
    echo = describe(Runner.of(Echo))
    assert first_tier(echo) == TierDeclaration(quality=Quality.STANDARD, pipeline="echo").planned
    ultra = TierDeclaration(quality=Quality.ULTRA, pipeline="big")
    only = echo.model_copy(update={"spec": echo.spec.model_copy(update={"tiers": (ultra,)})})
    assert first_tier(only) == ultra.planned


def test_an_agent_serves_only_the_runner_it_was_started_for() -> None:
    echo = describe(Runner.of(Echo))
    assert refused_runner(echo, "echo") == ""
    assert 'the target is runner "echo", not "flip"' in refused_runner(echo, "flip")


def test_an_unanswered_claim_is_asked_again_as_the_same_claim_and_a_settled_one_never() -> None:
    claims = Claims()
    other = ORDER.model_copy(update={"attempt": 3})
    assert claims.nonce(ORDER) == claims.nonce(ORDER)
    assert claims.nonce(ORDER) != claims.nonce(other)
    refused = claims.nonce(other)
    claims.forget(other)
    assert claims.nonce(other) != refused
    assert not claims.is_settled(ORDER)
    claims.settle(ORDER)
    assert claims.is_settled(ORDER)
    assert not claims.is_settled(other)


def test_what_a_worker_remembers_does_not_grow_for_ever() -> None:
    claims = Claims()
    for attempt in range(1, 6000):
        claims.settle(ORDER.model_copy(update={"attempt": attempt}))
    assert len(claims._settled) < 5000


def test_fifty_lines_a_second_pass_and_the_rest_is_counted() -> None:
    gate, passed = LogLimiter(), 0
    for _ in range(120):
        gate, passes, _ = gate.offer(10.0)
        passed += passes
    gate, passes, dropped = gate.offer(11.0)
    assert (passed, passes, dropped) == (50, True, 70)
    assert gate.offer(11.1)[1:] == (True, 0)
