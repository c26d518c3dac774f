"""Every way a pod fails: reason, whose fault, what happened, what to do. Whole texts, because people read them."""

from typing import Any

import pytest

from auteur_contracts.resources import Failure, TierDeclaration
from auteur_contracts.vocabulary import Fault, Reason
from auteur_operator.desired import least_memory_mib
from auteur_operator.diagnosis import (
    HeldUp,
    Node,
    ended_without_report,
    has_card,
    held_up,
    name_taken,
    ran_nothing,
    refused_pod,
    vanished,
    wants_room,
)
from tests.unit.cluster_operator.making import POD, disrupted, exited, node, pod, unschedulable

GPU = TierDeclaration(quality="high", pipeline="p", vram_gigabytes=24)
SMALL = TierDeclaration(quality="draft", pipeline="p")
STARTING, UNSCHEDULABLE = Reason.POD_STARTING, Reason.UNSCHEDULABLE
CREDENTIALS = "Look at spec.image of the FunctionRunner, and at the registry's credentials (image pull secrets)."
MISSING = "What is named there (a Secret, a volume, a user) has to exist in the job's namespace."
ROOM = "It starts when others have ended, or a node is added."
SUITS = "Look at the nodes' labels and taints."


def waits(reason: str, message: str = "") -> dict[str, Any]:
    return {"container": {"waiting": {"reason": reason, "message": message}}}


# ── before it runs ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seen", "reason", "message"),
    [
        ({}, STARTING, f"Pod {POD} is being started."),
        (waits("ContainerCreating"), STARTING, f"Pod {POD} is being started (ContainerCreating)."),
        (waits("PodInitializing"), STARTING, f"Pod {POD} is being started (PodInitializing)."),
        (
            waits("ErrImagePull", "registry.example/painter:1: not found"),
            Reason.IMAGE_PULL_FAILED,
            f"The image of pod {POD} cannot be pulled: registry.example/painter:1: not found. {CREDENTIALS}",
        ),
        (
            waits("ImagePullBackOff", "Back-off pulling image."),
            Reason.IMAGE_PULL_FAILED,
            f"The image of pod {POD} cannot be pulled: Back-off pulling image. {CREDENTIALS}",
        ),
        (
            waits("InvalidImageName"),
            Reason.IMAGE_PULL_FAILED,
            f"The image of pod {POD} cannot be pulled: InvalidImageName. {CREDENTIALS}",
        ),
        (
            waits("CreateContainerConfigError", 'secret "auteur-worker" not found'),
            Reason.CONTAINER_NOT_STARTED,
            f'The container of pod {POD} cannot be made: secret "auteur-worker" not found. {MISSING}',
        ),
        (
            waits("RunContainerError", "exec: python: not found"),
            Reason.CONTAINER_NOT_STARTED,
            f"The container of pod {POD} cannot be made: exec: python: not found. {MISSING}",
        ),
        (
            waits("CrashLoopBackOff", "back-off 10s restarting failed container") | {"phase": "Running"},
            Reason.CONTAINER_NOT_STARTED,
            f"The container of pod {POD} ends again and again. Read why: kubectl logs --previous -n film {POD}",
        ),
        (
            unschedulable("0/2 nodes are available: 2 Insufficient cpu."),
            UNSCHEDULABLE,
            f"No node takes pod {POD}: 0/2 nodes are available: 2 Insufficient cpu. {ROOM}",
        ),
        (
            unschedulable("0/2 nodes are available: 2 cannot allocate all claims."),
            UNSCHEDULABLE,
            f"No node takes pod {POD}: 0/2 nodes are available: 2 cannot allocate all claims. {ROOM}",
        ),
        (
            unschedulable("0/2 nodes are available: 2 node(s) had untolerated taint {gpu: yes}."),
            UNSCHEDULABLE,
            f"No node takes pod {POD}: 0/2 nodes are available: 2 node(s) had untolerated taint {{gpu: yes}}. {SUITS}",
        ),
        ({"phase": "Running"}, STARTING, f"Pod {POD} runs, and gets ready for its work."),
        (unschedulable(""), UNSCHEDULABLE, f"No node takes pod {POD}: Unschedulable. {SUITS}"),
    ],
)
def test_why_an_attempt_does_not_run_yet(seen: dict[str, Any], reason: Reason, message: str) -> None:
    assert held_up(pod(**seen)) == HeldUp(reason, message)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"phase": "Succeeded"}, "it has ended"),
        ({"phase": "Failed"} | waits("ContainerCreating"), "it has ended before its container began"),
        ({"phase": "Failed"} | unschedulable("0/1 nodes"), "it has ended without a place"),
    ],
)
def test_nothing_holds_up_a_pod_that_has_ended(seen: dict[str, Any], why: str) -> None:
    assert held_up(pod(**seen), GPU) is None, why


NO_CARD = "Ask for a lower quality, or add such a node."
LABELS = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."


@pytest.mark.parametrize(
    ("tier", "nodes", "message"),
    [
        (GPU, [], f"No node offers 24 GB of GPU memory: no node has a GPU. {NO_CARD}"),
        (GPU, [node("cpu")], f"No node offers 24 GB of GPU memory: no node has a GPU. {NO_CARD}"),
        (
            GPU,
            [node("a", gigabytes=11.9), node("b", gigabytes=12), node("c", gigabytes=16), node("cpu")],
            f"No node offers 24 GB of GPU memory: the nodes that have GPUs: 1 with 16 GB, 2 with 12 GB. {NO_CARD}",
        ),
        (GPU, [node("a", gigabytes=24)], f"No node takes pod {POD}: {LABELS} {SUITS}"),
        (SMALL, [], f"No node takes pod {POD}: {LABELS} {SUITS}"),
    ],
)
def test_cards_are_spoken_of_where_none_is_large_enough(tier: TierDeclaration, nodes: list[Node], message: str) -> None:
    assert held_up(pod(**unschedulable(LABELS)), tier, nodes) == HeldUp(UNSCHEDULABLE, message)


@pytest.mark.parametrize(
    ("memory", "counts", "why"),
    [
        (24_576, True, "24 GiB"),
        (23_034, True, "an L4, sold as 24 GB"),
        (least_memory_mib(24), True, "exactly what the pod's node affinity asks for"),
        (least_memory_mib(24) - 1, False, "a MiB less"),
        (0, False, "no card"),
    ],
)
def test_a_card_counts_as_the_scheduler_will_count_it(memory: int, counts: bool, why: str) -> None:  # noqa: FBT001
    assert has_card([Node("a", 1, memory)], 24) is counts, why


def test_whoever_needs_no_card_needs_no_node_with_one() -> None:
    assert has_card([], 0)


@pytest.mark.parametrize(
    ("said", "wants", "why"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", True, "cards are there, and taken"),
        ("0/1 nodes are available: 1 Insufficient memory.", True, "memory is taken"),
        ("0/1 nodes are available: 1 cannot allocate all claims.", True, "claimed cards are taken"),
        (LABELS, False, "nobody who leaves makes a node larger"),
        ("", False, "it has a place"),
    ],
)
def test_who_would_find_a_node_if_others_left(said: str, wants: bool, why: str) -> None:  # noqa: FBT001
    assert wants_room(pod(**unschedulable(said)) if said else pod()) is wants, why


LESS = "Ask for less (resources of the runner's tier), or change the LimitRange or policy that it names."


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        (
            "exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5",
            "Wait until other pods have ended, or raise the ResourceQuota.",
        ),
        ("maximum memory usage per Container is 1Gi, but limit is 2Gi", LESS),
        (
            'violates PodSecurity "restricted:latest": unrestricted volumes',
            "Let the namespace enforce at most the Pod Security level that the message names.",
        ),
        (
            "unable to create new content in namespace film because it is being terminated",
            "Nothing can be made in a namespace that is being deleted.",
        ),
        (
            'User "system:serviceaccount:studio:operator" cannot create resource "jobs" in API group "batch"',
            "Give the operator's service account the rights of its chart.",
        ),
    ],
)
def test_why_a_namespace_lets_no_pod_in(cause: str, remedy: str) -> None:
    found = refused_pod(f'Error creating: pods "alley-1-x7xq2" is forbidden: {cause}')
    assert found == HeldUp(Reason.POD_REFUSED, f"The namespace does not let the pod in: {cause}. {remedy}")


def test_what_a_webhook_says_is_said_whole() -> None:
    told = 'admission webhook "policy.example" denied the request: images come from our registry.'
    found = refused_pod(told)
    assert found == HeldUp(Reason.POD_REFUSED, f"The namespace does not let the pod in: {told} {LESS}")


def test_a_name_that_is_taken() -> None:
    why = "There is a Job named alley-1 that belongs to something else. Delete it if it does not go by itself."
    assert name_taken("alley-1") == HeldUp(Reason.POD_REFUSED, why)


def test_the_remedy_survives_a_message_that_is_too_long() -> None:
    for found in (held_up(pod(**waits("ErrImagePull", "x" * 5_000))), refused_pod("y" * 5_000)):
        assert found is not None
        assert len(found.message) <= 2048
        assert found.message.endswith((CREDENTIALS, LESS))


# ── after it ended ────────────────────────────────────────────────────────────────────────────────────────────────────

FULL = 'Usage of EmptyDir volume "scratch" exceeds the limit "20Gi".'
"""The kubelet's words."""
TAIL = ("loading the model", "RuntimeError: no.", "")


@pytest.mark.parametrize(
    ("seen", "fault", "reason", "message", "remedy"),
    [
        (
            {"container": exited(137, "OOMKilled")},
            Fault.FUNCTION,
            Reason.OUT_OF_MEMORY,
            f"Pod {POD} used more memory than its limit and was killed.",
            "Raise resources.memory of the runner's tier, or ask for a lower quality.",
        ),
        (
            {"container": exited(0, "Completed")},
            Fault.PLATFORM,
            Reason.RESULT_MISSING,
            f"Pod {POD} ended well and left no report.",
            "Its image must start Auteur's agent: python -m auteur_runner agent.",
        ),
        (
            {"container": exited(1)},
            Fault.PLATFORM,
            Reason.PLATFORM_FAILED,
            f"Pod {POD} ended with exit code 1: RuntimeError: no.",
            "Its last lines are in logTail.",
        ),
        (
            {"container": exited(137)},
            Fault.PLATFORM,
            Reason.PLATFORM_FAILED,
            f"Pod {POD} was killed (exit code 137).",
            "Look at the node's memory.",
        ),
        (
            {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"},
            Fault.FUNCTION,
            Reason.DEADLINE_EXCEEDED,
            f"Pod {POD} was ended by the kubelet, long after the attempt's deadline.",
            "Raise spec.deadline, or ask for less.",
        ),
        (
            {"reason": "Evicted", "message": f"{FULL} "},
            Fault.FUNCTION,
            Reason.EVICTED,
            f"Pod {POD} kept more on its node's disk than it may: {FULL}",
            "Ask for less, or raise operator.scratchSize of the chart (AUTEUR_OPERATOR__SCRATCH_LIMIT).",
        ),
        (
            {"reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have enough resource: cpu."},
            Fault.PLATFORM,
            Reason.PLATFORM_FAILED,
            f"Pod {POD} ended: Pod was rejected: Node didn't have enough resource: cpu.",
            "",
        ),
        ({}, Fault.PLATFORM, Reason.PLATFORM_FAILED, f"Pod {POD} ended: the kubelet said nothing.", ""),
    ],
)
def test_whose_fault_an_end_was_and_what_to_do(
    seen: dict[str, Any], fault: Fault, reason: Reason, message: str, remedy: str
) -> None:
    found = ended_without_report(pod(phase="Failed", **seen), TAIL)
    assert (found.fault, found.reason, found.message, found.remedy) == (fault, reason, message, remedy)


@pytest.mark.parametrize(
    ("seen", "reason", "message"),
    [
        (
            {"container": exited(75)},
            Reason.WORKER_LOST,
            f"Pod {POD} gave the attempt back.",
        ),
        (
            {"reason": "Evicted", "message": "The node was low on resource: memory.\nThreshold: 100Mi."},
            Reason.EVICTED,
            f"Pod {POD} was evicted. The node was low on resource: memory. Threshold: 100Mi.",
        ),
        (
            {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            Reason.EVICTED,
            f"Pod {POD} was evicted. The node was low on resource: ephemeral-storage.",
        ),
        (
            {"reason": "Evicted", **disrupted("TerminationByKubelet", "low on memory")},
            Reason.EVICTED,
            f"Pod {POD} was evicted. low on memory",
        ),
        (
            {"container": exited(143), **disrupted("EvictionByEvictionAPI", "Eviction API: evicting")},
            Reason.EVICTED,
            f"Pod {POD} was evicted. Eviction API: evicting",
        ),
        (
            {"container": exited(143), **disrupted("PreemptionByScheduler", "preempting")},
            Reason.PREEMPTED,
            f"Pod {POD} made room for one of higher priority. preempting",
        ),
        (
            {"reason": "Preempting", "message": "Preempted in order to admit critical pod"},
            Reason.PREEMPTED,
            f"Pod {POD} made room for one of higher priority. Preempted in order to admit critical pod",
        ),
        (
            disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
            Reason.NODE_LOST,
            f"The node of pod {POD} went away. Taint manager: deleting due to NoExecute taint",
        ),
        (
            {"container": exited(137, "OOMKilled"), **disrupted("DeletionByPodGC", "node is gone")},
            Reason.NODE_LOST,
            f"The node of pod {POD} went away. node is gone",
        ),
        (
            {"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."},
            Reason.NODE_LOST,
            f"The node of pod {POD} went away. Pod was terminated in response to imminent node shutdown.",
        ),
    ],
)
def test_what_is_nobodys_fault_is_a_loss(seen: dict[str, Any], reason: Reason, message: str) -> None:
    found = ended_without_report(pod(phase="Failed", **seen))
    assert found == Failure(fault=Fault.LOST, reason=reason, message=message)


def test_the_last_lines_of_the_log_are_kept_as_they_are_allowed() -> None:
    long = tuple(f"{number} {'x' * 600}" for number in range(30))
    found = ended_without_report(pod(phase="Failed", container=exited(3)), long)
    assert [line[:3].strip() for line in found.log_tail] == [f"{number}" for number in range(10, 30)]
    assert {len(line) for line in found.log_tail} == {512}
    assert Failure.model_validate_json(found.model_dump_json()) == found


def test_without_a_log_nobody_is_sent_to_it() -> None:
    found = ended_without_report(pod(phase="Failed", container=exited(3)))
    assert (found.message, found.remedy, found.log_tail) == (f"Pod {POD} ended with exit code 3: Error.", "", ())


def test_what_ran_nothing_and_what_vanished_are_losses() -> None:
    assert ran_nothing(pod(), "Nobody answered the claim within 120 s.") == Failure(
        fault=Fault.LOST,
        reason=Reason.WORKER_LOST,
        message=f"Pod {POD} ended and ran nothing. Nobody answered the claim within 120 s.",
    )
    assert vanished("The attempt's Job") == Failure(
        fault=Fault.LOST, reason=Reason.WORKER_LOST, message="The attempt's Job is gone, and left no result."
    )
