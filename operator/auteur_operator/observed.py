"""What the API server shows of an attempt's pod and batch/v1 Job, as values. The inverse of `desired` for labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auteur_contracts import names
from auteur_operator.desired import WORKER

Raw = Mapping[str, Any]
"""An object as the API server sends it."""


@dataclass(frozen=True)
class Word:
    """A reason for machines, a message for people."""

    reason: str = ""
    message: str = ""

    @classmethod
    def of(cls, raw: Raw) -> "Word":
        return cls(str(raw.get("reason") or ""), str(raw.get("message") or ""))


NOTHING = Word()
_USUAL = ("", "ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Terminated:
    exit_code: int
    word: Word
    """Its message is what the container left in its termination log."""
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Pod:
    """A worker's pod: of one attempt (`job` is set), or of a pool."""

    namespace: str
    name: str
    version: int
    job: str
    job_uid: str
    attempt: int
    pool: str
    runner: str
    phase: str
    word: Word
    """Why the kubelet or the control plane ended it: `Evicted`, `DeadlineExceeded`, …"""
    unschedulable: Word
    waiting: Word
    """Why its container does not run: `ImagePullBackOff`, `CreateContainerConfigError`, …"""
    disruption: Word
    """The DisruptionTarget condition: `PreemptionByScheduler`, `DeletionByTaintManager`, …"""
    terminated: Terminated | None
    deleting: bool
    created: datetime | None

    @property
    def ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def at_work(self) -> bool:
        """Or about to be."""
        return not self.ended and not self.deleting

    @property
    def told(self) -> tuple[object, ...]:
        """What of it a job's status can depend on. That a pod is placed, started and running as usual
        is none of it: who takes long for that is looked at again by the clock.
        """
        troubles = (self.unschedulable, self.disruption, self.waiting if self.waiting.reason not in _USUAL else NOTHING)
        return (self.ended, self.deleting, self.word if self.ended else NOTHING, self.terminated, *troubles)


AS_USUAL = (False, False, NOTHING, None, NOTHING, NOTHING, NOTHING)
"""`Pod.told` of one of which there is nothing to tell."""


def moment(text: str | None) -> datetime | None:
    """RFC 3339, as in every time of an object."""
    return datetime.fromisoformat(text) if text else None


def pod_of(raw: Raw) -> Pod:
    meta, status = raw["metadata"], raw.get("status", {})
    labels = meta.get("labels", {})
    container: Raw = next((each for each in status.get("containerStatuses", ()) if each["name"] == WORKER), {})
    state = container.get("state", {})
    ended = state.get("terminated")
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    disrupted = conditions.get("DisruptionTarget", {})
    attempt = labels.get(names.LABEL_ATTEMPT, "")
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        version=int(meta["resourceVersion"]),
        job=labels.get(names.LABEL_JOB, ""),
        job_uid=labels.get(names.LABEL_JOB_UID, ""),
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
        pool=labels.get(names.LABEL_POOL, ""),
        runner=labels.get(names.LABEL_RUNNER, ""),
        phase=status.get("phase", "Pending"),
        word=Word.of(status),
        unschedulable=Word.of(scheduled) if scheduled.get("status") == "False" else NOTHING,
        waiting=Word.of(state["waiting"]) if "waiting" in state else NOTHING,
        disruption=Word.of(disrupted) if disrupted.get("status") == "True" else NOTHING,
        terminated=None if ended is None else _terminated(ended),
        deleting=bool(meta.get("deletionTimestamp")),
        created=moment(meta.get("creationTimestamp")),
    )


def _terminated(raw: Raw) -> Terminated:
    return Terminated(
        int(raw.get("exitCode", -1)), Word.of(raw), moment(raw.get("startedAt")), moment(raw.get("finishedAt"))
    )


@dataclass(frozen=True)
class BatchJob:
    """The batch/v1 Job of one attempt."""

    uid: str
    job_uid: str
    plan: str
    """The plan that the attempt was made by, as JSON."""
    suspended: bool
    ended: bool
    """Or about to be: it says so when its pods have."""
    deleting: bool


_ENDS = frozenset({"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"})


def batch_job_of(raw: Raw) -> BatchJob:
    meta = raw["metadata"]
    said = raw.get("status", {}).get("conditions", ())
    return BatchJob(
        uid=meta["uid"],
        job_uid=meta.get("labels", {}).get(names.LABEL_JOB_UID, ""),
        plan=meta.get("annotations", {}).get(names.ANNOTATION_PLAN, ""),
        suspended=bool(raw["spec"].get("suspend")),
        ended=any(each["type"] in _ENDS and each["status"] == "True" for each in said),
        deleting=bool(meta.get("deletionTimestamp")),
    )
