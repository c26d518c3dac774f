"""What is wrong with an attempt's pod, in one record: a reason to search for, what happened, what to do about it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from auteur_contracts import names
from auteur_contracts.resources import Failure, TierDeclaration
from auteur_contracts.vocabulary import Fault, Reason
from auteur_operator.desired import least_memory_mib
from auteur_operator.observed import NOTHING, Cause, Pod, Terminated

_OUT_OF_MEMORY = 137
"""128 + SIGKILL, which is also what the kernel's OOM killer sends."""
_OUT_OF_DISK = re.compile(r"EmptyDir volume|ephemeral (local )?storage")
"""What the kubelet says of a pod beyond a limit of its own; of one that is not, `The node was low on resource`."""
_MORE_DISK = "Ask for less, or raise operator.scratchSize of the chart (AUTEUR_OPERATOR__SCRATCH_LIMIT)."
_TRY_LATER = 75
"""EX_TEMPFAIL: the agent could not claim its order, or was told to leave before it could."""


@dataclass(frozen=True)
class HeldUp:
    """The attempt has not begun, and still may."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Node:
    """The part of a node that decides whether a tier can run on it."""

    name: str
    gpus: int
    gpu_memory_mib: int
    """Of one card; 0 without one."""

    @property
    def gpu_gigabytes(self) -> int:
        return round(self.gpu_memory_mib / 1024)


def has_card(nodes: Sequence[Node], vram_gigabytes: float) -> bool:
    """Whether one of the nodes has a card as large as the tier's pods ask for. A tier with 0 needs none."""
    return not vram_gigabytes or any(node.gpu_memory_mib >= least_memory_mib(vram_gigabytes) for node in nodes)


# ── before it runs ────────────────────────────────────────────────────────────────────────────────────────────────────


def held_up(pod: Pod, tier: TierDeclaration | None = None, nodes: Sequence[Node] = ()) -> HeldUp | None:
    """Why the pod's attempt has not begun; None where its worker has ended. `tier` is given where labels of the
    nodes tell their cards.
    """
    if pod.ended or pod.terminated is not None:
        return None
    if pod.phase == "Running" and not pod.waiting.reason:
        return HeldUp(Reason.POD_STARTING, f"Pod {pod.name} runs, and gets ready for its work.")
    if pod.unschedulable.reason:
        return _unschedulable(pod, tier, nodes)
    match pod.waiting.reason:
        case "":
            return HeldUp(Reason.POD_STARTING, f"Pod {pod.name} is being started.")
        case "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable":
            why = f"The image of pod {pod.name} cannot be pulled: {_told(pod.waiting)}."
            remedy = "Look at spec.image of the FunctionRunner, and at the registry's credentials (image pull secrets)."
            return HeldUp(Reason.IMAGE_PULL_FAILED, _sentence(why, remedy))
        case "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError":
            why = f"The container of pod {pod.name} cannot be made: {_told(pod.waiting)}."
            remedy = "What is named there (a Secret, a volume, a user) has to exist in the job's namespace."
            return HeldUp(Reason.CONTAINER_NOT_STARTED, _sentence(why, remedy))
        case "CrashLoopBackOff":
            why = f"The container of pod {pod.name} ends again and again."
            return HeldUp(Reason.CONTAINER_NOT_STARTED, _sentence(why, f"Read why: {_logs_before(pod)}"))
        case _:
            return HeldUp(Reason.POD_STARTING, f"Pod {pod.name} is being started ({pod.waiting.reason}).")


def name_taken(name: str) -> HeldUp:
    """An object of the same name may still be about to be collected, after the GenerationJob that owned it."""
    why = f"There is a Job named {name} that belongs to something else."
    return HeldUp(Reason.POD_REFUSED, _sentence(why, "Delete it if it does not go by itself."))


def not_enabled(namespace: str) -> str:
    """Workers of a namespace get credentials for NATS, so an administrator has to let the namespace in."""
    label = f"kubectl label namespace {namespace} {names.LABEL_ENABLED}=true"
    return f'Namespace "{namespace}" runs no jobs. Let it in: {label}'


def refused_pod(refusal: str) -> HeldUp:
    """The API server took the Job and not its pod: a quota, a LimitRange, a policy. `refusal` is what the Job
    controller was told.
    """
    cause = refusal.partition("is forbidden:")[2].strip() or refusal
    why = f"The namespace does not let the pod in: {cause.rstrip('.')}."
    return HeldUp(Reason.POD_REFUSED, _sentence(why, _way_in(refusal)))


def _way_in(refusal: str) -> str:
    if "exceeded quota" in refusal:
        return "Wait until other pods have ended, or raise the ResourceQuota."
    if "violates PodSecurity" in refusal:
        return "Let the namespace enforce at most the Pod Security level that the message names."
    if "cannot create resource" in refusal:
        return "Give the operator's service account the rights of its chart."
    if "being terminated" in refusal:
        return "Nothing can be made in a namespace that is being deleted."
    return "Ask for less (resources of the runner's tier), or change the LimitRange or policy that it names."


def wants_room(pod: Pod) -> bool:
    """Whether it would fit on a node if other pods left. Where no node's labels, taints or cards suit, it would not."""
    said = pod.unschedulable.message
    return "Insufficient" in said or "cannot allocate all claims" in said


def _unschedulable(pod: Pod, tier: TierDeclaration | None, nodes: Sequence[Node]) -> HeldUp:
    if tier is not None and not has_card(nodes, tier.vram_gigabytes):
        return HeldUp(Reason.UNSCHEDULABLE, _no_card(tier, nodes))
    why = f"No node takes pod {pod.name}: {_told(pod.unschedulable)}."
    room, suits = "It starts when others have ended, or a node is added.", "Look at the nodes' labels and taints."
    return HeldUp(Reason.UNSCHEDULABLE, _sentence(why, room if wants_room(pod) else suits))


def _no_card(tier: TierDeclaration, nodes: Sequence[Node]) -> str:
    sizes = Counter(node.gpu_gigabytes for node in nodes if node.gpus)
    counted = ", ".join(f"{count} with {size} GB" for size, count in sorted(sizes.items(), reverse=True))
    has = f"the nodes that have GPUs: {counted}" if counted else "no node has a GPU"
    wanted = f"No node offers {tier.vram_gigabytes:g} GB of GPU memory: {has}."
    return _sentence(wanted, "Ask for a lower quality, or add such a node.")


# ── after it ended ────────────────────────────────────────────────────────────────────────────────────────────────────


def ended_without_report(pod: Pod, log_tail: Sequence[str] = ()) -> Failure:
    """For a pod that ended and left no report: whose fault it is, and what to do about it."""
    if pod.disruption.reason == "PreemptionByScheduler" or pod.cause.reason == "Preempting":
        return _lost(Reason.PREEMPTED, f"Pod {pod.name} made room for one of higher priority.", _end(pod))
    if pod.cause.reason == "Evicted" and _OUT_OF_DISK.search(pod.cause.message):
        message = f"Pod {pod.name} kept more on its node's disk than it may: {_told(pod.cause).strip()}"
        return _failure(Fault.FUNCTION, Reason.EVICTED, f"{message.rstrip('.')}.", _MORE_DISK, log_tail)
    if pod.cause.reason == "Evicted" or pod.disruption.reason == "EvictionByEvictionAPI":
        return _lost(Reason.EVICTED, f"Pod {pod.name} was evicted.", _end(pod))
    if pod.cause.reason in ("NodeLost", "NodeShutdown", "Terminated") or pod.disruption.reason in (
        "DeletionByTaintManager",
        "DeletionByPodGC",
        "TerminationByKubelet",
    ):
        return _lost(Reason.NODE_LOST, f"The node of pod {pod.name} went away.", _end(pod))
    if pod.cause.reason == "DeadlineExceeded":
        message = f"Pod {pod.name} was ended by the kubelet, long after the attempt's deadline."
        return _failure(Fault.FUNCTION, Reason.DEADLINE_EXCEEDED, message, "Raise spec.deadline, or ask for less.")
    if pod.terminated is None:
        told = _told(pod.cause) or "the kubelet said nothing"
        return _failure(Fault.PLATFORM, Reason.PLATFORM_FAILED, f"Pod {pod.name} ended: {told}.", tail=log_tail)
    return _exited(pod, pod.terminated, log_tail)


def taken_away(pod: Pod) -> Failure:
    """For a pod that was deleted before it ran anything."""
    told = ended_without_report(pod)
    return told if told.fault is Fault.LOST else vanished(f"Pod {pod.name}")


def ran_nothing(pod: Pod, why: str) -> Failure:
    """For a pod that ended before its claim was granted."""
    return _lost(Reason.WORKER_LOST, f"Pod {pod.name} ended and ran nothing.", Cause(message=why))


def unqueued(queue: str) -> Failure:
    """Kueue suspended a Job that was running."""
    return _lost(Reason.PREEMPTED, f"Kueue took the attempt's pod away: queue {queue}.", NOTHING)


def vanished(what: str) -> Failure:
    """Neither the pod nor what it made is there any more."""
    return _failure(Fault.LOST, Reason.WORKER_LOST, f"{what} is gone, and left no result.")


def _exited(pod: Pod, ended: Terminated, tail: Sequence[str]) -> Failure:
    if ended.cause.reason == "OOMKilled":
        message = f"Pod {pod.name} used more memory than its limit and was killed."
        remedy = "Raise resources.memory of the runner's tier, or ask for a lower quality."
        return _failure(Fault.FUNCTION, Reason.OUT_OF_MEMORY, message, remedy, tail)
    match ended.exit_code:
        case 0:
            message = f"Pod {pod.name} ended well and left no report."
            remedy = "Its image must start Auteur's agent: python -m auteur_runner agent."
            return _failure(Fault.PLATFORM, Reason.RESULT_MISSING, message, remedy, tail)
        case code if code == _TRY_LATER:
            return _lost(Reason.WORKER_LOST, f"Pod {pod.name} gave the attempt back.", NOTHING)
        case code if code == _OUT_OF_MEMORY:
            message = f"Pod {pod.name} was killed (exit code 137)."
            return _failure(Fault.PLATFORM, Reason.PLATFORM_FAILED, message, "Look at the node's memory.", tail)
        case code:
            message = f"Pod {pod.name} ended with exit code {code}: {_last(tail) or ended.cause.reason}."
            remedy = "Its last lines are in logTail." if tail else ""
            return _failure(Fault.PLATFORM, Reason.PLATFORM_FAILED, message, remedy, tail)


def _end(pod: Pod) -> Cause:
    """Why the pod was ended: the kubelet's cause, or else that of the control plane."""
    return pod.cause if pod.cause.message else pod.disruption


def _last(tail: Sequence[str]) -> str:
    return next((line.strip().rstrip(".") for line in reversed(tail) if line.strip()), "")


def _lost(reason: Reason, message: str, cause: Cause) -> Failure:
    more = re.sub(r"\s+", " ", cause.message).strip()
    return _failure(Fault.LOST, reason, f"{message} {more}".strip())


def _failure(fault: Fault, reason: Reason, message: str, remedy: str = "", tail: Sequence[str] = ()) -> Failure:
    return Failure(
        fault=fault,
        reason=reason,
        message=message[:2048],
        remedy=remedy[:1024],
        log_tail=tuple(line[:512] for line in tail[-20:]),
    )


def _told(cause: Cause) -> str:
    return cause.message.rstrip(".") or cause.reason


def _logs_before(pod: Pod) -> str:
    return f"kubectl logs --previous -n {pod.namespace} {pod.name}"


def _sentence(why: str, remedy: str) -> str:
    return f"{why[: 2040 - len(remedy)]} {remedy}"
