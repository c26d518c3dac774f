"""Every change of a status, with literals: what it says afterwards, and what it leaves alone."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from auteur_contracts.model import STORED
from auteur_contracts.orders import Outcome, RefusalReason
from auteur_contracts.resources import (
    FunctionRunner,
    FunctionRunnerStatus,
    GenerationJob,
    GenerationJobStatus,
    Progress,
    TierReadiness,
)
from auteur_contracts.vocabulary import ConditionType, Fault, Phase, Quality, Reason
from auteur_lifecycle import status
from auteur_lifecycle.conditions import with_phase
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.retry import MAX_LOSSES
from auteur_lifecycle.status import ClaimGranted, InputsGone, Seen, claim, dispatch, next_status, ready_for_worker
from tests.unit.lifecycle.making import (
    NOW,
    after,
    asked,
    dispatched,
    failure,
    having,
    job,
    nobody,
    output,
    report,
    request,
    runner,
    running,
    said,
    seen,
    waiting,
)

ACCEPTED, DISPATCHED, RUNNING = ConditionType.ACCEPTED, ConditionType.DISPATCHED, ConditionType.RUNNING
FINISHED, SUCCEEDED = ConditionType.FINISHED, ConditionType.SUCCEEDED


def priced() -> FunctionRunner:
    return runner(tiers=[{"quality": "standard", "pipeline": "p", "price": {"usdPerSecond": "0.01"}}])


# ── before the first attempt ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_can_run_is_planned_and_waits_for_a_worker() -> None:
    found = next_status(job(), seen(), NOW)
    assert found.phase is Phase.QUEUED
    assert found.plan is not None
    assert said(found, ACCEPTED) == ("True", Reason.RESOLVED, "Planned: text-to-image by painter, tiny.")
    assert said(found, DISPATCHED) == ("False", Reason.WAITING_FOR_WORKER, "Waits for a free worker of painter.")
    assert said(found, FINISHED) == ("False", Reason.IN_PROGRESS, "")


def test_a_job_that_cannot_run_is_refused_before_any_worker_is_taken() -> None:
    found = next_status(job(params={"prompt": "x", "stepz": 3}), seen(), NOW)
    sentence = 'text-to-image has no parameter "stepz"; did you mean "steps" (1 to 500)?'
    assert found.phase is Phase.FAILED
    for condition, value in ((ACCEPTED, "False"), (FINISHED, "True"), (SUCCEEDED, "False")):
        assert said(found, condition) == (value, Reason.INVALID_PARAMETER, sentence)
    assert found.failure is not None
    assert (found.failure.fault, found.completion_time, found.attempt) == (Fault.USER, NOW, 0)


@pytest.mark.parametrize(
    "spec",
    [
        {"params": {"prompt": "x", "z" * 100_000: 1}},
        {"function": "f" * 63, "inputs": [{"name": "image", "uri": "x" * 2048}]},
    ],
)
def test_a_refusal_that_quotes_something_long_can_still_be_stored(spec: dict[str, Any]) -> None:
    catalogue = runner(name="f" * 63, inputs=[{"name": "image", "mediaType": "image/*"}]), runner()
    found = next_status(job(**spec), seen(*catalogue), NOW)
    assert found.finished
    assert GenerationJobStatus.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("catalogue", "reason", "message"),
    [
        ((runner(),), Reason.WAITING_FOR_WORKER, "Waits for a free worker of painter."),
        ((runner(ready=False),), Reason.RUNNER_NOT_READY, "painter is not ready: it starts"),
        ((), Reason.RUNNER_NOT_READY, "Its runner is not there (any more)."),
        (
            (
                runner().model_copy(
                    update={
                        "status": FunctionRunnerStatus(
                            ready=True,
                            tiers=(TierReadiness(quality=Quality.STANDARD, ready=False, message="needs 16 GB"),),
                        )
                    }
                ),
            ),
            Reason.RUNNER_NOT_READY,
            "painter is not ready: needs 16 GB",
        ),
    ],
)
def test_a_waiting_job_says_what_it_waits_for(
    catalogue: tuple[FunctionRunner, ...], reason: Reason, message: str
) -> None:
    one = waiting()
    found = next_status(one, status.Seen(catalogue=catalogue, lookup=nobody), NOW)
    assert said(found, DISPATCHED) == ("False", reason, message)
    assert ready_for_worker(having(one, found))


def test_a_failed_input_fails_the_job_saying_which() -> None:
    first = running(retries=0)
    first = having(first, status.fail_attempt(first, failure(), NOW))
    reads_images = runner(inputs=[{"name": "image", "mediaType": "image/*"}])
    second = job("second", inputs=[{"name": "image", "from": {"job": "first"}}])
    found = next_status(second, seen(reads_images, lookup={"first": first}.get), NOW)
    assert said(found, FINISHED) == ("True", Reason.INPUT_FAILED, 'Input "image": job first is Failed.')
    assert not ready_for_worker(having(second, found))


def test_nobody_waits_for_a_worker_longer_than_the_start_deadline() -> None:
    one = waiting(startDeadline="10m")
    assert not next_status(one, seen(), after(600)).finished
    found = next_status(one, seen(), after(601))
    waited = "It did not start within spec.startDeadline. Waits for a free worker of painter. "
    remedy = "Raise it, or ask for another quality or runner."
    assert said(found, FINISHED)[1:] == (Reason.START_DEADLINE_EXCEEDED, waited + remedy)
    offered = dispatched(startDeadline="10m")
    assert next_status(offered, seen(), after(601)).finished
    started = running(startDeadline="10m", deadline="1h")
    assert not next_status(started, seen(), after(601)).finished


def test_a_suspended_job_waits_without_a_deadline_and_goes_on_when_it_is_resumed() -> None:
    one = asked(waiting(), suspend=True)
    held = having(one, next_status(one, seen(), after(10**6)))
    assert held.status.phase is Phase.SUSPENDED
    assert not ready_for_worker(held)
    resumed = asked(held, suspend=False)
    late = 2 * 10**6
    again = having(resumed, next_status(resumed, seen(), after(late)))
    assert (again.status.phase, again.status.resume_time) == (Phase.QUEUED, after(late))
    assert status.starts_by(held) is None
    assert status.starts_by(again) == after(late + 3600)
    assert next_status(again, seen(), after(late + 3601)).phase is Phase.FAILED


# ── dispatch and claim ────────────────────────────────────────────────────────────────────────────────────────────────


def test_dispatching_numbers_the_attempt_and_only_once() -> None:
    one = dispatched()
    assert one.status.attempt == 1
    assert one.status.phase is Phase.DISPATCHED
    assert said(one.status, DISPATCHED) == ("True", Reason.ORDERED, "Attempt 1 waits for a worker of painter.")
    assert dispatch(one, after(1)) == one.status
    assert dispatch(running(), after(1)).attempt == 1
    assert dispatch(job(), NOW).attempt == 0


def test_a_claim_is_granted_once() -> None:
    granted = claim(dispatched(), request(), nobody, after(3))
    assert isinstance(granted, ClaimGranted)
    found = granted.status
    assert (found.phase, found.claim, found.worker, found.start_time) == (Phase.RUNNING, "n-1", "w-1", after(3))
    assert said(found, RUNNING) == ("True", Reason.CLAIMED, "Attempt 1 runs on w-1.")


def test_asking_again_for_a_lost_reply_is_the_same_claim() -> None:
    one = running()
    assert claim(one, request(), nobody, after(9)) == ClaimGranted(one.status)


def cancelled() -> GenerationJob:
    one = running()
    return having(one, status.cancel(one, "ada", NOW))


def succeeded() -> GenerationJob:
    one = running()
    return having(one, status.report(one, report(Outcome.SUCCEEDED, outputs=(output(),)), NOW))


@pytest.mark.parametrize(
    ("one", "asks", "refused"),
    [
        (None, request(), RefusalReason.UNKNOWN),
        (dispatched(), request(uid="another-life"), RefusalReason.UNKNOWN),
        (running(), request(nonce="n-2"), RefusalReason.CLAIMED),
        (running(), request(worker="w-2"), RefusalReason.CLAIMED),
        (dispatched(), request(0), RefusalReason.STALE),
        (dispatched(), request(2), RefusalReason.STALE),
        (waiting(), request(0), RefusalReason.STALE),
        (asked(dispatched(), cancel=True), request(), RefusalReason.CANCELLED),
        (cancelled(), request(), RefusalReason.CANCELLED),
        (succeeded(), request(), RefusalReason.FINISHED),
    ],
)
def test_a_claim_is_refused_with_a_reason(one: GenerationJob | None, asks: Any, refused: RefusalReason) -> None:
    assert claim(one, asks, nobody, NOW) is refused


# ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_never_falls_within_an_attempt_and_keeps_its_picture() -> None:
    one = running()
    first = Progress(phase="denoise", fraction=0.5, preview_uri="s3://media/p.png")
    one = having(one, status.progress(one, 1, first))
    assert one.status.progress == first
    assert status.progress(one, 1, Progress(phase="denoise", fraction=0.4)) == one.status
    assert status.progress(one, 0, Progress(phase="denoise", fraction=0.9)) == one.status
    later = status.progress(one, 1, Progress(phase="decode", fraction=0.9)).progress
    assert later == Progress(phase="decode", fraction=0.9, preview_uri="s3://media/p.png")


def test_progress_of_a_job_that_does_not_run_is_nothing() -> None:
    for one in (waiting(), dispatched(), succeeded()):
        assert status.progress(one, one.status.attempt, Progress(phase="x", fraction=0.1)) == one.status


def test_outputs_elsewhere_are_not_an_attempts_own() -> None:
    one = running(retries=0)
    stolen = output(uid="another-job")
    found = status.report(one, report(Outcome.SUCCEEDED, outputs=(output(), stolen)), after(4))
    assert found.phase is Phase.FAILED
    assert found.outputs == ()
    assert found.failure is not None
    assert (found.failure.reason, found.failure.message) == (
        Reason.RESULT_MISSING,
        "Output image.png was reported outside of its attempt's storage.",
    )


def test_an_attempt_with_a_pod_says_why_it_does_not_run_yet() -> None:
    one = waiting()
    one = having(one, dispatch(one, NOW, pod=True))
    assert said(one.status, ConditionType.DISPATCHED) == (
        "True",
        Reason.POD_CREATED,
        "Attempt 1 has a pod of its own, by Job demo-1-1.",
    )
    held = status.hold_up(one, Reason.UNSCHEDULABLE, "No node offers 24 GB.", after(1))
    assert said(held, ConditionType.RUNNING) == ("False", Reason.UNSCHEDULABLE, "No node offers 24 GB.")
    assert held.phase is Phase.DISPATCHED
    again = having(one, held)
    assert status.hold_up(again, Reason.UNSCHEDULABLE, "No node offers 24 GB.", after(2)) is held


def test_a_pod_that_never_began_is_what_the_start_deadline_tells_of() -> None:
    one = waiting(startDeadline="10m")
    one = having(one, dispatch(one, NOW, pod=True))
    one = having(one, status.hold_up(one, Reason.UNSCHEDULABLE, "No node offers 24 GB.", after(1)))
    found = next_status(one, seen(), after(601))
    waited = "It did not start within spec.startDeadline. No node offers 24 GB. "
    remedy = "Raise spec.startDeadline if it only takes longer."
    assert said(found, FINISHED)[1:] == (Reason.START_DEADLINE_EXCEEDED, waited + remedy)


def test_a_pod_that_told_its_end_counts_as_its_own_claim() -> None:
    one = waiting()
    one = having(one, dispatch(one, NOW, pod=True))
    ran = having(one, status.has_run(one, 1, "demo-1-1-x7xq2", after(1), after(4)))
    assert (ran.status.running, ran.status.worker, ran.status.start_time) == (True, "demo-1-1-x7xq2", after(1))
    assert status.report(ran, report(Outcome.SUCCEEDED, outputs=(output(),)), after(4)).phase is Phase.SUCCEEDED


def test_an_attempt_that_never_ran_can_end_too() -> None:
    one = waiting()
    one = having(one, dispatch(one, NOW, pod=True))
    lost = status.end_attempt(one, 1, failure(Fault.LOST, Reason.EVICTED), after(1))
    assert (lost.phase, lost.losses, lost.failures, lost.cost) == (Phase.RETRYING, 1, 0, None)
    assert status.end_attempt(one, 0, failure(), after(1)) is one.status


def test_success_commits_the_outputs() -> None:
    one = running(runner=None)
    one = having(one, status.progress(one, 1, Progress(phase="decode", fraction=0.9, eta_seconds=1)))
    ended = report(Outcome.SUCCEEDED, outputs=(output(),), warnings=("unknown word: zorp",))
    found = status.report(one, ended, after(4))
    assert (found.phase, found.outputs, found.completion_time) == (Phase.SUCCEEDED, (output(),), after(4))
    assert found.warnings == ("unknown word: zorp",)
    assert found.progress == Progress(phase="decode", fraction=1.0)
    assert said(found, SUCCEEDED) == ("True", Reason.OUTPUTS_COMMITTED, "Made 1 output.")
    assert said(found, RUNNING)[0] == "False"


def test_every_attempt_is_paid_for() -> None:
    one = job()
    one = having(one, next_status(one, seen(priced()), NOW))
    one = having(one, dispatch(one, NOW))
    one = having(one, claim(one, request(), nobody, NOW).status)  # type: ignore[union-attr]  # granted, or the test fails here
    failed = report(Outcome.FAILED, failure=failure(), metrics={"run_seconds": 2.0})
    one = having(one, status.report(one, failed, NOW))
    assert one.status.cost is not None
    one = having(one, dispatch(one, after(5)))
    one = having(one, claim(one, request(2), nobody, after(5)).status)  # type: ignore[union-attr]  # as above
    found = status.report(one, report(Outcome.SUCCEEDED, 2, metrics={"run_seconds": 3.0}), after(9))
    assert found.cost is not None
    assert found.cost.usd == Decimal("0.05")
    assert (found.attempt, found.failures, found.failure) == (2, 1, None)


def test_a_failure_is_tried_again_after_a_pause() -> None:
    one = running()
    one = having(one, status.report(one, report(Outcome.FAILED, failure=failure()), NOW))
    assert (one.status.phase, one.status.failures, one.status.retry_at) == (Phase.RETRYING, 1, after(1))
    assert said(one.status, DISPATCHED) == ("False", Reason.WAITING_TO_RETRY, "It broke. Tried again soon.")
    assert not ready_for_worker(one)
    again = having(one, next_status(one, seen(), after(1)))
    assert ready_for_worker(again)
    assert dispatch(again, after(1)).attempt == 2


@pytest.mark.parametrize(
    ("fault", "reason"), [(Fault.USER, Reason.INVALID_REQUEST), (Fault.FUNCTION, Reason.DEADLINE_EXCEEDED)]
)
def test_what_would_fail_again_ends_at_once(fault: Fault, reason: Reason) -> None:
    one = running()
    found = status.report(one, report(Outcome.FAILED, failure=failure(fault, reason)), NOW)
    assert (found.phase, found.failures) == (Phase.FAILED, 1)
    assert said(found, FINISHED) == ("True", reason, "It broke.")


def test_a_failure_without_a_cause_is_the_platforms() -> None:
    one = running(retries=0)
    found = status.report(one, report(Outcome.FAILED), NOW)
    assert found.failure is not None
    assert (found.failure.fault, found.failure.reason) == (Fault.PLATFORM, Reason.RESULT_MISSING)


def test_an_attempt_that_is_handed_back_counts_as_nothing() -> None:
    one = running()
    found = status.report(one, report(Outcome.HANDED_BACK), NOW)
    assert (found.failures, found.losses, found.phase, found.claim, found.worker) == (0, 0, Phase.QUEUED, "", "")
    assert ready_for_worker(having(one, found))


def test_a_worker_that_says_cancelled_ends_the_job_for_who_asked() -> None:
    one = running()
    one = having(one, one.status.model_copy(update={"cancelled_by": "ada"}))
    found = status.report(one, report(Outcome.CANCELLED), NOW)
    assert said(found, SUCCEEDED) == ("False", Reason.CANCELLED, "Cancelled by ada.")


def test_a_report_longer_than_a_status_is_shortened_or_refused_whole() -> None:
    one = running(retries=0)
    talkative = status.report(one, report(Outcome.SUCCEEDED, warnings=("w",) * 100), NOW)
    assert len(talkative.warnings) == 32
    many = tuple(output(f"{number}.png") for number in range(257))
    found = status.report(one, report(Outcome.SUCCEEDED, outputs=many), NOW)
    assert said(found, FINISHED)[2] == "The function made 257 outputs; a job holds 256."
    for ended in (talkative, found):
        assert GenerationJobStatus.model_validate_json(ended.model_dump_json()) == ended


@pytest.mark.parametrize("outcome", Outcome)
def test_the_report_of_an_older_attempt_changes_nothing(outcome: Outcome) -> None:
    one = running()
    one = having(one, status.lose(one, 1, NOW))
    one = having(one, next_status(one, seen(), NOW))
    one = having(one, dispatch(one, NOW))
    second = having(one, claim(one, request(2, nonce="n-2"), nobody, NOW).status)  # type: ignore[union-attr]  # granted
    for job_now in (one, second, cancelled(), succeeded()):
        assert status.report(job_now, report(outcome, 1), after(1)) == job_now.status


def test_a_silent_worker_is_a_loss_and_the_job_is_ready_again_at_once() -> None:
    one = running()
    found = next_status(one, seen(silent=True), after(7))
    assert (found.losses, found.failures, found.phase) == (1, 0, Phase.RETRYING)
    assert found.failure is not None
    assert found.failure.message == "Worker w-1 was lost during attempt 1."
    assert ready_for_worker(having(one, found))
    assert next_status(having(one, found), seen(silent=True), after(7)) == found


def test_losses_are_not_endless() -> None:
    one = running()
    one = having(one, one.status.model_copy(update={"losses": MAX_LOSSES}))
    found = next_status(one, seen(silent=True), after(7))
    assert (found.phase, found.losses) == (Phase.FAILED, MAX_LOSSES + 1)


def test_the_platform_ends_what_the_agent_let_run() -> None:
    one = running(deadline="1m")
    assert next_status(one, seen(), after(60 + 300)) == one.status
    found = next_status(one, seen(), after(60 + 301))
    assert said(found, FINISHED)[1:] == (
        Reason.DEADLINE_EXCEEDED,
        "Attempt 1 did not end within its deadline. Raise spec.deadline, or ask for less.",
    )


def test_suspending_a_running_job_gives_its_worker_up() -> None:
    one = asked(running(), suspend=True)
    found = next_status(one, seen(), after(1))
    assert (found.phase, found.worker, found.claim, found.failures, found.losses) == (Phase.SUSPENDED, "", "", 0, 0)
    assert next_status(having(one, found), seen(), after(1)) == found
    assert status.report(having(one, found), report(Outcome.SUCCEEDED), after(2)) == found


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("one", [job(), waiting(), dispatched(), running()])
def test_cancelling_ends_the_job_from_anywhere_and_says_by_whom(one: GenerationJob) -> None:
    found = status.cancel(one, "ada", after(1))
    assert (found.phase, found.cancelled_by, found.completion_time) == (Phase.CANCELLED, "ada", after(1))
    assert said(found, FINISHED) == ("True", Reason.CANCELLED, "Cancelled by ada.")
    by_spec = next_status(asked(one, cancel=True), seen(), after(1))
    assert said(by_spec, FINISHED) == ("True", Reason.CANCELLED, "Cancelled.")


@pytest.mark.parametrize("one", [succeeded(), cancelled()])
def test_nothing_leads_out_of_a_finished_state(one: GenerationJob) -> None:
    late = after(10**6)
    assert next_status(asked(one, cancel=True, suspend=True), seen(silent=True), late) == one.status
    assert status.cancel(one, "bob", late) == one.status
    assert status.lose(one, 1, late) == one.status
    assert dispatch(one, late) == one.status
    assert status.progress(one, 1, Progress(phase="x", fraction=1)) == one.status
    for outcome in Outcome:
        assert status.report(one, report(outcome), late) == one.status


def test_a_conditions_time_moves_only_when_it_turns() -> None:
    first = having(waiting(), status.wait(waiting(), Reason.WAITING_FOR_INPUTS, "Waits for a.", after(5)))
    held = first.status.condition(DISPATCHED)
    assert held is not None
    assert held.last_transition_time == NOW
    turned = dispatch(first, after(9)).condition(DISPATCHED)
    assert turned is not None
    assert turned.last_transition_time == after(9)


def test_waiting_for_the_same_again_writes_nothing() -> None:
    one = waiting()
    held = said(one.status, DISPATCHED)
    assert status.wait(one, held[1], held[2], NOW + timedelta(days=1)) is one.status


def test_a_refusal_reads_as_one_sentence_after_another() -> None:
    assert Refusal(Reason.INVALID_INPUT, "What happened.", "inputs", "What to do.").text == "What happened. What to do."


INPUT: dict[str, Any] = {"inputs": [{"name": "image", "from": {"job": "first"}}]}
READER = runner(inputs=[{"name": "image", "mediaType": "image/*"}])


def made_from(source: GenerationJob | None) -> tuple[GenerationJob, Seen]:
    """A job that is dispatched, its input being there, and the world in which `source` is what its input names."""
    there = succeeded()
    one = job(**INPUT)
    one = having(one, next_status(one, seen(READER, lookup=lambda _: there), NOW))
    return having(one, dispatch(one, NOW)), seen(READER, lookup=lambda _: source)


def test_a_job_that_waits_too_long_for_an_input_names_it() -> None:
    one = job(startDeadline="10m", **INPUT)
    one = having(one, next_status(one, seen(READER), NOW))
    found = next_status(one, seen(READER), after(601))
    assert said(found, FINISHED)[1:] == (
        Reason.START_DEADLINE_EXCEEDED,
        "It did not start within spec.startDeadline. Waits for first. Look at the jobs it waits for, or name others.",
    )


def test_nobody_gets_a_job_whose_input_was_deleted_since_it_was_dispatched() -> None:
    one, now = made_from(None)
    refused = claim(one, request(), now.lookup, after(1))
    assert isinstance(refused, InputsGone)
    assert said(refused.status, FINISHED)[1:] == (
        Reason.INPUT_FAILED,
        'Input "image": job first was there and has been deleted.',
    )


def test_a_job_goes_back_to_waiting_when_its_input_is_made_anew() -> None:
    one, now = made_from(running())
    refused = claim(one, request(), now.lookup, after(1))
    assert isinstance(refused, InputsGone)
    dispatched = refused.status.condition(ConditionType.DISPATCHED)
    assert dispatched is not None
    assert dispatched.reason is Reason.WAITING_FOR_INPUTS


def running_at_a_price(**spec: Any) -> GenerationJob:
    one = job(**spec)
    one = having(one, next_status(one, seen(priced()), NOW))
    one = having(one, dispatch(one, NOW))
    return having(one, claim(one, request(), nobody, NOW).status)  # type: ignore[union-attr]  # granted


@pytest.mark.parametrize(
    ("ending", "usd"),
    [
        (lambda one: status.cancel(one, "ada", after(20)), "0.2"),
        (lambda one: status.lose(one, 1, after(20)), "0.2"),
        (lambda one: next_status(asked(one, suspend=True), seen(), after(20)), "0.2"),
        (lambda one: next_status(asked(one, cancel=True), seen(), after(20)), "0.2"),
        (lambda one: next_status(one, seen(), after(60 + 301)), "3.61"),
        (lambda one: status.report(one, report(Outcome.HANDED_BACK, metrics={"run_seconds": 5}), after(20)), "0.05"),
    ],
)
def test_an_attempt_that_ends_without_a_result_is_paid_for_too(
    ending: Callable[[GenerationJob], GenerationJobStatus], usd: str
) -> None:
    cost = ending(running_at_a_price(deadline="1m")).cost
    assert cost is not None
    assert cost.usd == Decimal(usd)


def test_the_failure_of_an_attempt_is_not_told_of_the_next_one() -> None:
    one = running()
    one = having(one, status.fail_attempt(one, failure(), NOW))
    assert one.status.failure is not None
    again = having(one, dispatch(one, after(5)))
    assert claim(again, request(2), nobody, after(5)).status.failure is None  # type: ignore[union-attr]  # granted
    assert status.cancel(one, "ada", after(5)).failure is None


def test_an_order_that_nobody_will_claim_is_taken_back() -> None:
    one = dispatched()
    back = status.withdraw(one, "Its runner keeps no warm workers any more.", after(5))
    assert said(back, ConditionType.DISPATCHED) == (
        "False",
        Reason.RUNNER_NOT_READY,
        "Its runner keeps no warm workers any more.",
    )
    assert (back.attempt, back.failures, back.losses) == (1, 0, 0)
    assert claim(having(one, back), request(), nobody, after(6)) is RefusalReason.STALE
    assert status.withdraw(running(), "too late", after(5)).running


def test_a_retry_is_looked_for_at_its_time_and_not_again_and_again_while_it_waits_for_a_worker() -> None:
    one = having(running(), status.end_attempt(running(), 1, failure(), NOW))
    assert status.look_again_at(one) == one.status.retry_at == after(1)
    paused = having(one, next_status(one, seen(), after(0.5)))
    assert status.look_again_at(paused) == after(1)
    due = having(one, next_status(one, seen(), after(2)))
    assert said(due.status, DISPATCHED)[1] is Reason.WAITING_FOR_WORKER
    assert status.look_again_at(due) is None


# ── what another version wrote ────────────────────────────────────────────────────────────────────────────────────────

MASKED = "This version of Auteur does not know spec.mask. Upgrade the operator, or create it anew without."
LONG = timedelta(hours=2)


def masked(one: GenerationJob) -> GenerationJob:
    """With a field of a newer version, and everything else as it was."""
    document = one.model_dump(mode="json")
    document["spec"]["mask"] = {"soft": True}
    return GenerationJob.model_validate(document, context=STORED)


@pytest.mark.parametrize("one", [job(), waiting()], ids=["asked", "planned"])
def test_a_job_with_a_field_that_nobody_here_knows_waits_and_says_so(one: GenerationJob) -> None:
    held = having(masked(one), next_status(masked(one), seen(), NOW))
    assert said(held.status, ACCEPTED) == ("False", Reason.UNKNOWN_FIELD, MASKED)
    assert (held.status.phase, held.status.plan) == (Phase.PENDING, one.status.plan)
    assert not ready_for_worker(held)
    assert (status.starts_by(held), status.look_again_at(held)) == (None, None)
    assert next_status(held, seen(), NOW + LONG) == held.status


def test_a_version_that_knows_the_field_takes_the_job_up_and_its_time_begins() -> None:
    for one in (job(), waiting()):
        held = having(one, next_status(masked(one), seen(), NOW))
        found = next_status(held, seen(), NOW + LONG)
        assert said(found, ACCEPTED)[:2] == ("True", Reason.RESOLVED)
        assert (found.phase, found.resume_time) == (Phase.QUEUED, NOW + LONG)
        assert ready_for_worker(having(one, found))


def test_an_attempt_under_way_goes_on_whatever_fields_its_job_has() -> None:
    for one in (dispatched(), running()):
        assert next_status(masked(one), seen(), after(60)) == one.status
    granted = claim(masked(dispatched()), request(), nobody, NOW)
    assert isinstance(granted, ClaimGranted)
    ended = status.report(masked(running()), report(Outcome.SUCCEEDED, outputs=(output(),)), NOW)
    assert ended.phase is Phase.SUCCEEDED


def test_no_other_attempt_begins_of_a_job_with_a_field_that_nobody_here_knows() -> None:
    lost = next_status(masked(running()), seen(silent=True), NOW)
    assert said(lost, ACCEPTED) == ("False", Reason.UNKNOWN_FIELD, MASKED)
    assert (lost.losses, lost.dispatched, lost.running) == (1, False, False)
    paused = next_status(asked(masked(dispatched()), suspend=True), seen(), NOW)
    assert (paused.dispatched, paused.phase) == (False, Phase.PENDING)


def test_it_can_be_cancelled_all_the_same() -> None:
    assert next_status(asked(masked(waiting()), cancel=True), seen(), NOW).phase is Phase.CANCELLED


def test_a_change_keeps_conditions_that_nobody_here_knows_behind_the_others() -> None:
    one = running()
    checked = one.status.conditions[0].model_copy(update={"type": ConditionType("Checked")})
    told = one.status.model_copy(update={"conditions": (checked, *one.status.conditions)})
    ended = status.cancel(having(one, told), "", NOW)
    assert [each.type for each in ended.conditions] == [
        ACCEPTED,
        DISPATCHED,
        RUNNING,
        FINISHED,
        SUCCEEDED,
        ConditionType("Checked"),
    ]
    assert ended.conditions[-1] == checked


def test_a_wrong_phase_is_put_right_and_a_right_one_left() -> None:
    one = running().status
    assert with_phase(one) is one
    assert with_phase(one.model_copy(update={"phase": Phase.SUCCEEDED})) == one
    assert with_phase(one.model_copy(update={"phase": Phase("Dreaming")})) == one
