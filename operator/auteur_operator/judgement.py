"""What became of an attempt that has a pod of its own: decided from evidence, and perhaps asking for more. Pure."""

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


class Ask(Enum):
    """What to look up before judging again."""

    POD = auto()
    """Is it really gone? After a watch was interrupted nobody is told of deletions."""
    BATCH_JOB = auto()
    REFUSALS = auto()
    """Why the Job controller cannot make the pod: the Job's events."""
    RESULT = auto()
    """`result.json` of the attempt's prefix."""
    LOG = auto()
    NODES = auto()


@dataclass(frozen=True)
class Evidence:
    """What is known. `looked` says what has been asked for: what it did not find is not there."""

    pod: Pod | None = None
    batch_job: BatchJob | None = None
    refusal: str = ""
    result: Report | None = None
    log_tail: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    looked: frozenset[Ask] = frozenset()


@dataclass(frozen=True)
class Goes:
    """On its way: nothing to say of it, or why it does not run yet. `again`: look once more though nothing happened."""

    held_up: HeldUp | None = None
    again: bool = False


@dataclass(frozen=True)
class Reported:
    """Its pod, or what lies beside its outputs, says how it ended."""

    report: Report
    worker: str


@dataclass(frozen=True)
class Broken:
    failure: Failure


Verdict = Goes | Reported | Broken | Ask


def judge(job: GenerationJob, seen: Evidence, tier: TierDeclaration | None) -> Verdict:
    if seen.pod is None:
        return _without_pod(job, seen)
    if not seen.pod.ended:
        return _before_its_end(job, seen.pod, seen, tier)
    return _after_its_end(seen.pod, seen)


def _before_its_end(job: GenerationJob, pod: Pod, seen: Evidence, tier: TierDeclaration | None) -> Verdict:
    if job.status.running:
        return Goes()
    if pod.deleting:
        return _before_it_goes(job, pod, seen)
    needs_nodes = bool(pod.unschedulable.reason and tier is not None and tier.vram_gigabytes)
    if needs_nodes and Ask.NODES not in seen.looked:
        return Ask.NODES
    return Goes(diagnosis.held_up(pod, tier, seen.nodes), again=needs_nodes)


def _before_it_goes(job: GenerationJob, pod: Pod, seen: Evidence) -> Verdict:
    """Deleted before its claim: it runs nothing any more, and on a node that died it would never be gone."""
    for ask in (Ask.BATCH_JOB, Ask.RESULT):
        if ask not in seen.looked:
            return ask
    if seen.result is not None:
        return Reported(seen.result, pod.name)
    if seen.batch_job is not None and seen.batch_job.suspended:
        return _waits_for_quota(job)
    return Broken(diagnosis.taken_away(pod))


def _after_its_end(pod: Pod, seen: Evidence) -> Verdict:
    word = last_word(pod)
    if word is not None:
        if word.refused is RefusalReason.CLAIMED:  # another pod of this attempt has it
            return Goes(again=True)
        if word.outcome is None:
            return Broken(diagnosis.ran_nothing(pod, word.message))
        if word.outcome is Outcome.HANDED_BACK:  # who had it leave knows better why
            return Broken(diagnosis.ended_without_report(pod))
        if word.report is not None and not word.truncated:
            return Reported(word.report, pod.name)
    if Ask.RESULT not in seen.looked:
        return Ask.RESULT
    if seen.result is not None:
        return Reported(seen.result, pod.name)
    if _is_fault_of_its_own(pod) and Ask.LOG not in seen.looked:
        return Ask.LOG
    return Broken(diagnosis.ended_without_report(pod, seen.log_tail))


def _is_fault_of_its_own(pod: Pod) -> bool:
    return pod.terminated is not None and not pod.disruption.reason and pod.word.reason != "Evicted"


def last_word(pod: Pod) -> TerminationMessage | None:
    """None where the container left nothing, or something that is not ours."""
    if pod.terminated is None or not pod.terminated.word.message:
        return None
    try:
        word = TerminationMessage.model_validate_json(pod.terminated.word.message)
    except ValidationError:
        return None
    return word if (word.uid, word.attempt) == (pod.job_uid, pod.attempt) else None


def _without_pod(job: GenerationJob, seen: Evidence) -> Verdict:
    for ask in (Ask.POD, Ask.BATCH_JOB):
        if ask not in seen.looked:
            return ask
    made = seen.batch_job
    if made is None or made.ended or job.status.running:
        if Ask.RESULT not in seen.looked:
            return Ask.RESULT
        if seen.result is not None:
            return Reported(seen.result, seen.result.worker)
        if made is not None and made.suspended:
            return Broken(diagnosis.unqueued(_queue(job)))
        return Broken(diagnosis.vanished("The attempt's Job" if made is None else "The attempt's pod"))
    if made.suspended:
        return _waits_for_quota(job)
    if Ask.REFUSALS not in seen.looked:
        return Ask.REFUSALS
    return Goes(diagnosis.refused_pod(seen.refusal) if seen.refusal else None, again=True)


def _waits_for_quota(job: GenerationJob) -> Goes:
    return Goes(HeldUp(Reason.WAITING_FOR_QUOTA, f"Kueue has not admitted it yet: queue {_queue(job)}."), again=True)


def _queue(job: GenerationJob) -> str:
    return job.spec.queue or "of its Job"


def is_believed(said: Report, job: GenerationJob) -> bool:
    """`result.json` is written with a link that only the claim gave, into the attempt's own prefix."""
    same = (said.uid, said.attempt) == (job.metadata.uid, job.status.attempt)
    return same and said.outcome is not Outcome.HANDED_BACK


def newest(pods: Sequence[Pod]) -> Pod | None:
    """Of the pods of one attempt: a Job makes another only where one vanished before it ran."""
    return max(pods, key=lambda pod: (not pod.deleting, pod.created.timestamp() if pod.created else 0.0), default=None)
