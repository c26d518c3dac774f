"""An attempt's pod and batch/v1 Job as the API server shows them, parsed. Labels are what anybody may write who makes a
pod: they say where to look. Whose an object is, its controller says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auteur_contracts import names
from auteur_control.reading import moment
from auteur_operator.desired import WORKER

Raw = Mapping[str, Any]
"""An object as the API server sends it."""


@dataclass(frozen=True)
class Cause:
    """Why something is so: a reason for machines, a message for people."""

    reason: str = ""
    message: str = ""

    @classmethod
    def of(cls, raw: Raw) -> "Cause":
        return cls(str(raw.get("reason") or ""), str(raw.get("message") or ""))


NOTHING = Cause()
_USUAL = ("", "ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Terminated:
    exit_code: int
    cause: Cause
    """Its message is what the container left in its termination log."""
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Pod:
    """A worker's pod: of one attempt, as its labels say (`job_uid` is set), or of a pool."""

    namespace: str
    name: str
    version: int
    owner_uid: str
    """Of the batch/v1 Job that controls it; empty where none does."""
    job: str
    job_uid: str
    attempt: int
    pool: str
    runner: str
    phase: str
    cause: Cause
    """Why the kubelet or the control plane ended it: `Evicted`, `DeadlineExceeded`, …"""
    unschedulable: Cause
    waiting: Cause
    """Why its container does not run: `ImagePullBackOff`, `CreateContainerConfigError`, …"""
    disruption: Cause
    """The DisruptionTarget condition: `PreemptionByScheduler`, `DeletionByTaintManager`, …"""
    terminated: Terminated | None
    deleting: bool
    created: datetime | None

    @property
    def ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def at_work(self) -> bool:
        """Whether it runs, or still may."""
        return not self.ended and not self.deleting

    @property
    def told(self) -> tuple[object, ...]:
        """The part of its state that a job's status can depend on. That a pod is scheduled, started and running as
        usual is not part of it: an attempt that takes long for that is reconciled again after a time.
        """
        troubles = (self.unschedulable, self.disruption, self.waiting if self.waiting.reason not in _USUAL else NOTHING)
        return (self.ended, self.deleting, self.cause if self.ended else NOTHING, self.terminated, *troubles)


AS_USUAL = (False, False, NOTHING, None, NOTHING, NOTHING, NOTHING)
"""`Pod.told` of a pod without trouble that has not ended."""


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
        owner_uid=_controller(meta, "batch/v1", "Job"),
        job=labels.get(names.LABEL_JOB, ""),
        job_uid=labels.get(names.LABEL_JOB_UID, ""),
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
        pool=labels.get(names.LABEL_POOL, ""),
        runner=labels.get(names.LABEL_RUNNER, ""),
        phase=status.get("phase", "Pending"),
        cause=Cause.of(status),
        unschedulable=Cause.of(scheduled) if scheduled.get("status") == "False" else NOTHING,
        waiting=Cause.of(state["waiting"]) if "waiting" in state else NOTHING,
        disruption=Cause.of(disrupted) if disrupted.get("status") == "True" else NOTHING,
        terminated=None if ended is None else _terminated(ended),
        deleting=bool(meta.get("deletionTimestamp")),
        created=moment(meta.get("creationTimestamp")),
    )


def _terminated(raw: Raw) -> Terminated:
    return Terminated(
        int(raw.get("exitCode", -1)), Cause.of(raw), moment(raw.get("startedAt")), moment(raw.get("finishedAt"))
    )


@dataclass(frozen=True)
class BatchJob:
    """The batch/v1 Job of one attempt."""

    uid: str
    job_uid: str
    """Of the GenerationJob that controls it; empty where none does."""
    plan: str
    """The plan of the job when the attempt was made, as JSON."""
    suspended: bool
    ended: bool
    """Or about to end: its conditions say so before its pods have ended."""
    deleting: bool


_ENDS = frozenset({"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"})


def batch_job_of(raw: Raw) -> BatchJob:
    meta = raw["metadata"]
    said = raw.get("status", {}).get("conditions", ())
    return BatchJob(
        uid=meta["uid"],
        job_uid=_controller(meta, names.API_VERSION, "GenerationJob"),
        plan=meta.get("annotations", {}).get(names.ANNOTATION_PLAN, ""),
        suspended=bool(raw["spec"].get("suspend")),
        ended=any(each["type"] in _ENDS and each["status"] == "True" for each in said),
        deleting=bool(meta.get("deletionTimestamp")),
    )


def _controller(meta: Raw, version: str, kind: str) -> str:
    for owner in meta.get("ownerReferences", ()):
        if owner.get("controller") and (owner.get("apiVersion"), owner.get("kind")) == (version, kind):
            return str(owner["uid"])
    return ""
