"""What became of an attempt that has a pod of its own. Pure: it decides from findings, and names the lookup that is
still missing where they do not suffice. `lookups` makes those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pydantic import ValidationError

from auteur_contracts.orders import Outcome, RefusalReason, Report, TerminationMessage
from auteur_contracts.resources import Failure, GenerationJob, TierDeclaration
from auteur_contracts.vocabulary import Reason
from auteur_operator import diagnosis
from auteur_operator.diagnosis import HeldUp, Node
from auteur_operator.observed import BatchJob, Pod


class Lookup(Enum):
    """What has to be looked up before the outcome can be decided."""

    POD = auto()
    """Whether the pod is really gone: a watch that was interrupted may have missed its deletion."""
    BATCH_JOB = auto()
    REFUSALS = auto()
    """Why the Job controller cannot make the pod: the Job's events."""
    RESULT = auto()
    """`result.json` below the attempt's prefix of the object store."""
    LOG = auto()
    NODES = auto()


@dataclass(frozen=True)
class Findings:
    """What is known of the attempt. What a lookup in `looked_up` did not find is not there."""

    pod: Pod | None = None
    batch_job: BatchJob | None = None
    refusal: str = ""
    result: Report | None = None
    log_tail: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    looked_up: frozenset[Lookup] = frozenset()


@dataclass(frozen=True)
class InProgress:
    """The attempt may still run. `held_up` says why it does not yet; with `recheck` no event will tell of a change."""

    held_up: HeldUp | None = None
    recheck: bool = False


@dataclass(frozen=True)
class Reported:
    """The pod's termination message, or `result.json` beside its outputs, says how the attempt ended."""

    report: Report
    worker: str


@dataclass(frozen=True)
class Failed:
    """The attempt ended without a report."""

    failure: Failure


AttemptOutcome = InProgress | Reported | Failed | Lookup


def outcome_of(job: GenerationJob, findings: Findings, tier: TierDeclaration | None) -> AttemptOutcome:
    if findings.pod is None:
        return _without_pod(job, findings)
    if not findings.pod.ended:
        return _of_live_pod(job, findings.pod, findings, tier)
    return _of_ended_pod(job, findings.pod, findings)


def _of_live_pod(job: GenerationJob, pod: Pod, findings: Findings, tier: TierDeclaration | None) -> AttemptOutcome:
    if job.status.running:
        return InProgress()
    if pod.deleting:
        return _of_deleted_pod(job, pod, findings)
    needs_nodes = bool(pod.unschedulable.reason and tier is not None and tier.vram_gigabytes)
    if needs_nodes and Lookup.NODES not in findings.looked_up:
        return Lookup.NODES
    return InProgress(diagnosis.held_up(pod, tier, findings.nodes), recheck=needs_nodes)


def _of_deleted_pod(job: GenerationJob, pod: Pod, findings: Findings) -> AttemptOutcome:
    """A pod that was deleted before its claim runs nothing any more; on a dead node it would never be gone."""
    for lookup in (Lookup.BATCH_JOB, Lookup.RESULT):
        if lookup not in findings.looked_up:
            return lookup
    if findings.result is not None:
        return Reported(findings.result, pod.name)
    if findings.batch_job is not None and findings.batch_job.suspended:
        return _waits_for_quota(job)
    return Failed(diagnosis.taken_away(pod))


def _of_ended_pod(job: GenerationJob, pod: Pod, findings: Findings) -> AttemptOutcome:
    message = termination_message(pod, job)
    if message is not None:
        if message.refused is RefusalReason.CLAIMED:  # by another pod of this attempt
            return InProgress(recheck=True)
        if message.outcome is None:
            return Failed(diagnosis.ran_nothing(pod, message.message))
        if message.outcome is Outcome.HANDED_BACK:  # the pod's conditions tell why it had to leave
            return Failed(diagnosis.ended_without_report(pod))
        if message.report is not None and not message.truncated:
            return Reported(message.report, pod.name)
    if Lookup.RESULT not in findings.looked_up:
        return Lookup.RESULT
    if findings.result is not None:
        return Reported(findings.result, pod.name)
    if _exited_by_itself(pod) and Lookup.LOG not in findings.looked_up:
        return Lookup.LOG
    return Failed(diagnosis.ended_without_report(pod, findings.log_tail))


def _exited_by_itself(pod: Pod) -> bool:
    return pod.terminated is not None and not pod.disruption.reason and pod.cause.reason != "Evicted"


def termination_message(pod: Pod, job: GenerationJob) -> TerminationMessage | None:
    """None where the container left none, or one that is not about the job's attempt."""
    if pod.terminated is None or not pod.terminated.cause.message:
        return None
    try:
        message = TerminationMessage.model_validate_json(pod.terminated.cause.message)
    except ValidationError:
        return None
    about = (message.namespace, message.name, message.uid, message.attempt)
    return message if about == (*job.key, job.metadata.uid, job.status.attempt) else None


def _without_pod(job: GenerationJob, findings: Findings) -> AttemptOutcome:
    for lookup in (Lookup.POD, Lookup.BATCH_JOB):
        if lookup not in findings.looked_up:
            return lookup
    made = findings.batch_job
    if made is None or made.ended or job.status.running:
        if Lookup.RESULT not in findings.looked_up:
            return Lookup.RESULT
        if findings.result is not None:
            return Reported(findings.result, findings.result.worker)
        if made is not None and made.suspended:
            return Failed(diagnosis.unqueued(_queue(job)))
        return Failed(diagnosis.vanished("The attempt's Job" if made is None else "The attempt's pod"))
    if made.suspended:
        return _waits_for_quota(job)
    if Lookup.REFUSALS not in findings.looked_up:
        return Lookup.REFUSALS
    return InProgress(diagnosis.refused_pod(findings.refusal) if findings.refusal else None, recheck=True)


def _waits_for_quota(job: GenerationJob) -> InProgress:
    return InProgress(
        HeldUp(Reason.WAITING_FOR_QUOTA, f"Kueue has not admitted it yet: queue {_queue(job)}."), recheck=True
    )


def _queue(job: GenerationJob) -> str:
    return job.spec.queue or "of its Job"


def is_believed(said: Report, job: GenerationJob) -> bool:
    """Whether a report may end the attempt. `result.json` is written through a URL that only the claim handed out,
    below the attempt's own prefix, so it needs no token.
    """
    same = (said.uid, said.attempt) == (job.metadata.uid, job.status.attempt)
    return same and said.outcome is not Outcome.HANDED_BACK


def newest(pods: Sequence[Pod]) -> Pod | None:
    """The newest pod of one attempt: its Job replaces a pod that vanished before it ran."""
    return max(pods, key=lambda pod: (not pod.deleting, pod.created.timestamp() if pod.created else 0.0), default=None)
