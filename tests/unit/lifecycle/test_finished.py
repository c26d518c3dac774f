"""Nothing leads out of a finished state: whatever is decided about a finished job, it stays as it is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJob, GenerationJobStatus, Progress
from auteur_contracts.vocabulary import ConditionType, Fault, Phase, Reason
from auteur_lifecycle import endings, expiry, status
from auteur_lifecycle.conditions import TRUE, change, with_phase
from auteur_lifecycle.refusal import Refusal
from tests.unit.lifecycle.making import (
    NOW,
    asked,
    dispatched,
    failure,
    having,
    job,
    output,
    report,
    request,
    running,
    seen,
    waiting,
)

ENDED = [
    having(running(), status.report(running(), report(Outcome.SUCCEEDED, outputs=(output(),)), NOW)),
    having(running(), status.report(running(), report(Outcome.FAILED, failure=failure(Fault.USER)), NOW)),
    having(running(), status.cancel(running(), "ada", NOW)),
    having(dispatched(), status.cancel(dispatched(), "", NOW)),
    having(job(), status.refuse(job(), Refusal(Reason.INVALID_PARAMETER, "No."), NOW)),
    having(waiting(), status.end_attempt(dispatched(retries=0), 1, failure(), NOW)),
]
WORDS = st.sampled_from([*Reason, Reason("Levitating")])


@st.composite
def finished(draw: st.DrawFn) -> GenerationJob:
    """In whatever words another version, or somebody by hand, has put it; and whatever is asked for by now."""
    ended = draw(st.sampled_from(ENDED))
    told = [each.model_copy(update={"reason": draw(WORDS)}) for each in ended.status.conditions]
    stray = draw(st.sampled_from([ConditionType.RUNNING, ConditionType.DISPATCHED, ConditionType("Checked")]))
    told = [each for each in told if each.type != stray] + [told[0].model_copy(update={"type": stray, "status": TRUE})]
    shown = {"conditions": tuple(told), "phase": draw(st.sampled_from([*Phase, Phase("Dreaming")]))}
    spec = {"cancel": draw(st.booleans()), "suspend": draw(st.booleans())}
    return asked(having(ended, ended.status.model_copy(update=shown)), **spec)


def claimed(one: GenerationJob, attempt: int) -> GenerationJobStatus:
    answer = status.claim(one, request(attempt), lambda _: None, NOW)
    return answer.status if isinstance(answer, status.ClaimGranted | status.InputsGone) else one.status


LATER = NOW + timedelta(days=2)
PLAN = running().status.plan
assert PLAN is not None
PLANNED = PLAN
DECISIONS: dict[str, Callable[[GenerationJob, int], GenerationJobStatus]] = {
    "accept": lambda one, _: status.accept(one, PLANNED, LATER),
    "cancel": lambda one, _: status.cancel(one, "bob", LATER),
    "claim": claimed,
    "dispatch": lambda one, _: status.dispatch(one, LATER),
    "end_attempt": lambda one, attempt: status.end_attempt(one, attempt, failure(), LATER),
    "fail_attempt": lambda one, _: status.fail_attempt(one, failure(), LATER),
    "has_run": lambda one, attempt: status.has_run(one, attempt, "w", NOW, LATER),
    "hold_back": lambda one, _: status.hold_back(one, Refusal(Reason.INVALID_REQUEST, "No."), LATER),
    "hold_up": lambda one, _: status.hold_up(one, Reason.POD_STARTING, "It starts.", LATER),
    "lose": lambda one, attempt: status.lose(one, attempt, LATER),
    "next_status": lambda one, attempt: status.next_status(one, seen(silent=bool(attempt)), LATER),
    "paid_until": lambda one, _: status.paid_until(one, LATER).status,
    "progress": lambda one, attempt: status.progress(one, attempt, Progress(phase="denoise", fraction=0.5)),
    "refuse": lambda one, _: status.refuse(one, Refusal(Reason.INVALID_REQUEST, "No."), LATER),
    "report": lambda one, attempt: status.report(one, report(Outcome.SUCCEEDED, attempt), LATER),
    "stall": lambda one, _: status.stall(one, "a fault", LATER),
    "wait": lambda one, _: status.wait(one, Reason.SUSPENDED, "", LATER),
    "withdraw": lambda one, _: status.withdraw(one, "", LATER),
    "recover": lambda one, _: status.recover(one),
    "fail": lambda one, _: endings.fail(one, failure(), LATER),
    "finish_cancelled": lambda one, _: endings.finish_cancelled(one, LATER, "bob"),
    "succeed": lambda one, attempt: endings.succeed(one, report(Outcome.SUCCEEDED, attempt), LATER),
}
NO_DECISIONS = {
    *("ClaimGranted", "InputsGone", "Seen", "has_begun", "is_current", "look_again_at"),
    *("ready_for_worker", "starts_by"),
}


def test_every_way_a_status_can_change_is_looked_at_here() -> None:
    assert set(status.__all__) <= DECISIONS.keys() | NO_DECISIONS


@given(finished(), st.sampled_from(sorted(DECISIONS)), st.integers(0, 2))
def test_no_decision_leads_out_of_a_finished_state(ended: GenerationJob, name: str, attempt: int) -> None:
    assert DECISIONS[name](ended, attempt) == ended.status


@given(finished())
def test_what_may_change_of_a_finished_job_is_who_holds_it_and_a_wrong_phase(ended: GenerationJob) -> None:
    released = expiry.release(ended, "archive", LATER)
    ours: dict[str, Any] = {"holds": ended.status.holds, "archived_time": ended.status.archived_time}
    assert released.model_copy(update=ours) == ended.status
    righted = with_phase(ended.status)
    assert righted == ended.status.model_copy(update={"phase": ended.status.view.phase})


@given(finished(), WORDS)
def test_a_change_of_a_finished_job_is_none(ended: GenerationJob, why: Reason) -> None:
    assert change(ended, LATER, (ConditionType.FINISHED, TRUE, why, ""), outputs=()) is ended.status
