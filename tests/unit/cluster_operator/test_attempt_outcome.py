"""What became of an attempt: which lookups it takes, in which order, and the outcome."""

from typing import Any

import pytest

from auteur_contracts.orders import Outcome, RefusalReason, Report
from auteur_contracts.resources import Failure, GenerationJob, TierDeclaration
from auteur_contracts.vocabulary import Fault, Reason
from auteur_operator.attempt_outcome import (
    AttemptOutcome,
    Failed,
    Findings,
    InProgress,
    Lookup,
    Reported,
    is_believed,
    newest,
    outcome_of,
    termination_message,
)
from auteur_operator.diagnosis import HeldUp
from auteur_operator.observed import Pod, batch_job_of
from tests.unit.cluster_operator.making import (
    POD,
    after,
    dispatched,
    disrupted,
    exited,
    node,
    pod,
    raw_batch_job,
    report,
    running,
    unschedulable,
    word,
)

JOB, RUNS = dispatched(), running()
EVERYTHING = frozenset(Lookup)
NO_ROOM = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
GPU = TierDeclaration(quality="high", pipeline="p", vram_gigabytes=24)


def lost(reason: Reason, message: str) -> Failed:
    return Failed(Failure(fault=Fault.LOST, reason=reason, message=message))


def asked(job: GenerationJob, known: Findings, tier: TierDeclaration | None = None) -> list[Lookup]:
    """What is asked for, in order, when nothing is found."""
    order: list[Lookup] = []
    outcome: AttemptOutcome
    while isinstance(outcome := outcome_of(job, known, tier), Lookup):
        assert outcome not in order, "asked again"
        order.append(outcome)
        known = Findings(known.pod, known.batch_job, log_tail=known.log_tail, looked_up=frozenset(order))
    return order


def failed(code: int, *, left: str = "", **status: Any) -> Pod:
    """`left`: in its termination log."""
    return pod(phase="Failed", container=exited(code, "Error", left), **status)


# ── a pod that has not ended ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_pod_that_starts_is_waited_for() -> None:
    starts = HeldUp(Reason.POD_STARTING, f"Pod {POD} is being started.")
    assert outcome_of(JOB, Findings(pod()), None) == InProgress(starts)


def test_a_pod_that_runs_gets_ready_until_its_agent_claims() -> None:
    loads = HeldUp(Reason.POD_STARTING, f"Pod {POD} runs, and gets ready for its work.")
    assert outcome_of(JOB, Findings(pod(phase="Running")), None) == InProgress(loads)


def test_of_a_job_that_was_claimed_nothing_is_said_whatever_its_pod_shows_yet() -> None:
    assert outcome_of(RUNS, Findings(pod(**unschedulable(NO_ROOM))), GPU) == InProgress()


def test_a_pod_without_a_place_has_the_nodes_looked_at_where_it_wants_a_card() -> None:
    waits = pod(**unschedulable(NO_ROOM))
    assert outcome_of(JOB, Findings(waits), GPU) is Lookup.NODES
    findings = Findings(waits, nodes=(node("a", gigabytes=12),), looked_up=frozenset({Lookup.NODES}))
    assert outcome_of(JOB, findings, GPU) == InProgress(
        HeldUp(
            Reason.UNSCHEDULABLE,
            "No node offers 24 GB of GPU memory: the nodes that have GPUs: 1 with 12 GB. "
            "Ask for a lower quality, or add such a node.",
        ),
        recheck=True,
    )


@pytest.mark.parametrize(
    ("tier", "why"),
    [
        (None, "GPUs are claimed, or the tier is not declared any more"),
        (TierDeclaration(quality="draft", pipeline="p"), "it wants none"),
    ],
)
def test_a_pod_without_a_place_that_wants_no_labelled_card(tier: TierDeclaration | None, why: str) -> None:
    outcome = outcome_of(JOB, Findings(pod(**unschedulable("0/3 nodes are available: 3 Insufficient cpu."))), tier)
    assert isinstance(outcome, InProgress), why
    assert outcome.held_up == HeldUp(
        Reason.UNSCHEDULABLE,
        f"No node takes pod {POD}: 0/3 nodes are available: 3 Insufficient cpu. "
        "It starts when others have ended, or a node is added.",
    ), why


# ── a pod that is being deleted ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pod_that_goes_before_its_claim_is_judged_at_once() -> None:
    """On a node that died it would never be gone."""
    going = pod(phase="Running", deleting=True)
    assert asked(JOB, Findings(going)) == [Lookup.BATCH_JOB, Lookup.RESULT]
    outcome = outcome_of(JOB, Findings(going, looked_up=EVERYTHING), None)
    assert outcome == lost(Reason.WORKER_LOST, f"Pod {POD} is gone, and left no result.")


def test_a_pod_that_goes_says_for_whom() -> None:
    going = pod(deleting=True, **disrupted("PreemptionByScheduler", "preempting"))
    outcome = outcome_of(JOB, Findings(going, looked_up=EVERYTHING), None)
    assert outcome == lost(Reason.PREEMPTED, f"Pod {POD} made room for one of higher priority. preempting")


def test_a_pod_that_goes_may_have_left_its_result() -> None:
    findings = Findings(pod(phase="Running", deleting=True), result=report(), looked_up=EVERYTHING)
    assert outcome_of(JOB, findings, None) == Reported(report(), POD)


def test_a_pod_that_kueue_takes_away_before_its_claim_waits_again() -> None:
    there = batch_job_of(raw_batch_job(suspend=True))
    findings = Findings(pod(deleting=True), batch_job=there, looked_up=EVERYTHING)
    waits = HeldUp(Reason.WAITING_FOR_QUOTA, "Kueue has not admitted it yet: queue team-a.")
    assert outcome_of(dispatched(queue="team-a"), findings, None) == InProgress(waits, recheck=True)


def test_a_pod_that_goes_after_its_claim_finishes_what_it_does() -> None:
    """Or is silent for so long that its worker is lost."""
    assert outcome_of(RUNS, Findings(pod(phase="Running", deleting=True)), None) == InProgress()


# ── a pod that ended ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.CANCELLED])
def test_the_last_word_is_believed_at_once(outcome: Outcome) -> None:
    ended = pod(phase="Succeeded", container=exited(0, "Completed", word(outcome=outcome)))
    assert outcome_of(JOB, Findings(ended), None) == Reported(report(outcome), POD)


def test_a_failure_is_told_in_the_agents_words_and_not_by_its_exit_code() -> None:
    own = Failure(fault=Fault.USER, reason=Reason.INVALID_REQUEST, message="The prompt is empty.")
    said = word(outcome=Outcome.FAILED, failure=own)
    assert outcome_of(JOB, Findings(failed(1, left=said)), None) == Reported(report(Outcome.FAILED, failure=own), POD)


def test_a_word_of_which_outputs_were_cut_sends_us_to_the_result() -> None:
    ended = pod(phase="Succeeded", container=exited(0, "Completed", word(outcome=Outcome.SUCCEEDED, truncated=True)))
    assert outcome_of(JOB, Findings(ended), None) is Lookup.RESULT
    whole = report(warnings=("the whole of it",))
    assert outcome_of(JOB, Findings(ended, result=whole, looked_up=frozenset({Lookup.RESULT})), None) == Reported(
        whole, POD
    )


def test_a_word_that_was_cut_and_no_result_is_a_result_that_is_missing() -> None:
    ended = pod(phase="Succeeded", container=exited(0, "Completed", word(outcome=Outcome.SUCCEEDED, truncated=True)))
    assert asked(JOB, Findings(ended)) == [Lookup.RESULT, Lookup.LOG]
    outcome = outcome_of(JOB, Findings(ended, looked_up=EVERYTHING), None)
    assert isinstance(outcome, Failed)
    assert outcome.failure.reason is Reason.RESULT_MISSING


def test_a_pod_that_found_its_attempt_claimed_leaves_it_to_the_other() -> None:
    refused = word(refused=RefusalReason.CLAIMED, message="The claim was refused: claimed")
    ended = pod(phase="Succeeded", container=exited(0, "Completed", refused))
    assert outcome_of(RUNS, Findings(ended), None) == InProgress(recheck=True)


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        (word(refused=RefusalReason.STALE, message="The claim was refused: stale"), 0, "another attempt is under way"),
        (word(message="Nobody answered the claim within 120 s."), 75, "the operator was away"),
        (word(message="The claim could not be asked for: no route."), 75, "NATS was away"),
    ],
)
def test_a_pod_that_ran_nothing_is_a_loss_and_says_why(said: str, code: int, why: str) -> None:
    outcome = outcome_of(JOB, Findings(failed(code, left=said)), None)
    assert outcome == lost(Reason.WORKER_LOST, f"Pod {POD} ended and ran nothing. {_message(said)}"), why


def _message(said: str) -> str:
    found = termination_message(pod(phase="Failed", container=exited(75, message=said)), JOB)
    assert found is not None
    return found.message


@pytest.mark.parametrize(
    ("end", "reason", "message"),
    [
        ({}, Reason.WORKER_LOST, f"Pod {POD} gave the attempt back."),
        (
            disrupted("PreemptionByScheduler", "preempting to accommodate a higher priority pod"),
            Reason.PREEMPTED,
            f"Pod {POD} made room for one of higher priority. preempting to accommodate a higher priority pod",
        ),
        ({"reason": "Evicted", "message": "low on memory"}, Reason.EVICTED, f"Pod {POD} was evicted. low on memory"),
    ],
)
def test_an_attempt_that_was_handed_back_tells_who_had_it_leave(
    end: dict[str, Any], reason: Reason, message: str
) -> None:
    gives_back = failed(75, left=word(outcome=Outcome.HANDED_BACK), **end)
    assert outcome_of(JOB, Findings(gives_back), None) == lost(reason, message)


@pytest.mark.parametrize(
    ("left", "why"),
    [
        ("", "nothing was written"),
        ("Traceback (most recent call last): …", "not ours"),
        (word(outcome=Outcome.SUCCEEDED)[:-10], "cut by the kubelet"),
        (word(outcome=Outcome.SUCCEEDED, uid="another"), "another job's"),
        (word(outcome=Outcome.SUCCEEDED, attempt=2), "another attempt's"),
        (word(outcome=Outcome.SUCCEEDED, namespace="ads"), "another namespace's"),
    ],
)
def test_without_a_word_of_ours_the_result_and_then_the_log_are_looked_for(left: str, why: str) -> None:
    ended = failed(1, left=left)
    assert termination_message(ended, JOB) is None, why
    assert asked(JOB, Findings(ended)) == [Lookup.RESULT, Lookup.LOG], why


def test_what_lies_beside_the_outputs_counts_though_the_pod_was_killed() -> None:
    killed = failed(137)
    findings = Findings(killed, result=report(), looked_up=frozenset({Lookup.RESULT}))
    assert outcome_of(JOB, findings, None) == Reported(report(), POD)


def test_the_log_is_kept_with_a_failure_that_left_no_word() -> None:
    lines = ("loading", "RuntimeError: the model file is truncated")
    outcome = outcome_of(JOB, Findings(failed(1), log_tail=lines, looked_up=EVERYTHING), None)
    assert outcome == Failed(
        Failure(
            fault=Fault.PLATFORM,
            reason=Reason.PLATFORM_FAILED,
            message=f"Pod {POD} ended with exit code 1: RuntimeError: the model file is truncated.",
            remedy="Its last lines are in logTail.",
            log_tail=lines,
        )
    )


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (disrupted("PreemptionByScheduler"), Reason.PREEMPTED),
        (disrupted("EvictionByEvictionAPI"), Reason.EVICTED),
        (disrupted("DeletionByTaintManager"), Reason.NODE_LOST),
        (disrupted("DeletionByPodGC"), Reason.NODE_LOST),
        ({"reason": "Evicted"}, Reason.EVICTED),
    ],
)
def test_a_pod_that_was_ended_from_outside_has_no_log_to_blame(end: dict[str, Any], reason: Reason) -> None:
    ended = failed(137, **end)
    assert asked(JOB, Findings(ended)) == [Lookup.RESULT]
    outcome = outcome_of(JOB, Findings(ended, looked_up=EVERYTHING), None)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.reason, outcome.failure.fault) == (reason, Fault.LOST)


# ── no pod ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pod_that_was_never_seen_and_a_job_that_is_there() -> None:
    """The quota says no, or nobody has said anything yet: asked once more later."""
    there = batch_job_of(raw_batch_job())
    assert asked(JOB, Findings(batch_job=there)) == [Lookup.POD, Lookup.BATCH_JOB, Lookup.REFUSALS]
    assert outcome_of(JOB, Findings(batch_job=there, looked_up=EVERYTHING), None) == InProgress(recheck=True)


def test_a_pod_that_a_quota_keeps_out() -> None:
    told = (
        'Error creating: pods "alley-1-x7xq2" is forbidden: exceeded quota: small, '
        "requested: requests.memory=2Gi, used: requests.memory=7Gi, limited: requests.memory=8Gi"
    )
    findings = Findings(batch_job=batch_job_of(raw_batch_job()), refusal=told, looked_up=EVERYTHING)
    assert outcome_of(JOB, findings, None) == InProgress(
        HeldUp(
            Reason.POD_REFUSED,
            "The namespace does not let the pod in: exceeded quota: small, requested: requests.memory=2Gi, "
            "used: requests.memory=7Gi, limited: requests.memory=8Gi. "
            "Wait until other pods have ended, or raise the ResourceQuota.",
        ),
        recheck=True,
    )


def test_a_job_that_kueue_has_not_admitted() -> None:
    queued = dispatched(queue="team-a")
    findings = Findings(
        batch_job=batch_job_of(raw_batch_job(suspend=True)), looked_up=frozenset({Lookup.POD, Lookup.BATCH_JOB})
    )
    waits = HeldUp(Reason.WAITING_FOR_QUOTA, "Kueue has not admitted it yet: queue team-a.")
    assert outcome_of(queued, findings, None) == InProgress(waits, recheck=True)


def test_a_job_that_kueue_suspended_while_it_ran() -> None:
    queued = running(queue="team-a")
    findings = Findings(batch_job=batch_job_of(raw_batch_job(suspend=True)))
    assert asked(queued, findings) == [Lookup.POD, Lookup.BATCH_JOB, Lookup.RESULT]
    assert outcome_of(queued, Findings(batch_job=findings.batch_job, looked_up=EVERYTHING), None) == lost(
        Reason.PREEMPTED, "Kueue took the attempt's pod away: queue team-a."
    )


def test_a_job_that_vanished_is_judged_by_its_result() -> None:
    assert asked(JOB, Findings()) == [Lookup.POD, Lookup.BATCH_JOB, Lookup.RESULT]
    assert outcome_of(JOB, Findings(result=report(worker="w-9"), looked_up=EVERYTHING), None) == Reported(
        report(worker="w-9"), "w-9"
    )
    assert outcome_of(JOB, Findings(looked_up=EVERYTHING), None) == lost(
        Reason.WORKER_LOST, "The attempt's Job is gone, and left no result."
    )


@pytest.mark.parametrize(
    ("job", "conditions", "why"),
    [
        (JOB, {"Complete": "CompletionsReached"}, "the Job ended and its pod was deleted"),
        (JOB, {"FailureTarget": "PodFailurePolicy"}, "the Job is about to say so"),
        (RUNS, {}, "it was claimed, so the pod was there"),
    ],
)
def test_a_pod_that_vanished(job: GenerationJob, conditions: dict[str, str], why: str) -> None:
    findings = Findings(batch_job=batch_job_of(raw_batch_job(conditions=conditions)))
    assert asked(job, findings) == [Lookup.POD, Lookup.BATCH_JOB, Lookup.RESULT], why
    assert outcome_of(job, Findings(batch_job=findings.batch_job, looked_up=EVERYTHING), None) == lost(
        Reason.WORKER_LOST, "The attempt's pod is gone, and left no result."
    ), why


# ── whom to believe ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said", "believed", "why"),
    [
        (report(), True, "this very attempt"),
        (report(Outcome.FAILED), True, "however it ended"),
        (report(attempt=2), False, "another attempt's"),
        (report(uid="another"), False, "another job's"),
        (report(Outcome.HANDED_BACK), False, "nobody leaves that beside outputs"),
    ],
)
def test_a_result_is_believed_for_its_own_attempt(said: Report, believed: bool, why: str) -> None:  # noqa: FBT001
    assert is_believed(said, RUNS) is believed, why


def test_of_two_pods_of_an_attempt_the_newest_that_stays_counts() -> None:
    first, second = pod("first", created=after(0)), pod("second", created=after(9))
    leaves = pod("leaves", created=after(99), deleting=True)
    assert newest([second, first, leaves]) == second
    assert newest([leaves]) == leaves
    assert newest([]) is None
