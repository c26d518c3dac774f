"""Jobs, runners, pods and moments for the tests of the operator, as the API server sends them and as short as they can
be said.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from auteur_contracts import names
from auteur_contracts.orders import ClaimRequest, Outcome, Report, TerminationMessage
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus, Plan
from auteur_lifecycle.capabilities import CLUSTER
from auteur_lifecycle.status import ClaimGranted, Seen, claim, dispatch, next_status
from auteur_operator.diagnosis import Node
from auteur_operator.observed import Pod, pod_of

Raw = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
UID = "6f0c1a52-0000-4000-8000-000000000001"
POOL = "studio_painter_standard"
POD = "alley-1-x7xq2"
BATCH_UID = "6f0c1a52-0000-4000-8000-00000000ba7c"
"""Of the batch/v1 Job of the job's first attempt."""
SCHEMA: Raw = {
    "type": "object",
    "required": ["prompt"],
    "properties": {"prompt": {"type": "string"}, "seed": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def nobody(_name: str) -> None:
    return None


# ── resources ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def raw_runner(name: str = "painter", *, namespace: str = "studio", version: int = 1, **spec: Any) -> Raw:
    spec.setdefault("image", "registry.example/painter:1")
    spec.setdefault("functions", [{"name": "text-to-image", "paramsSchema": SCHEMA}])
    spec.setdefault("tiers", [{"quality": "standard", "pipeline": "tiny"}])
    metadata = {"name": name, "namespace": namespace, "uid": f"{name}-uid", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec}


def runner(name: str = "painter", **wanted: Any) -> FunctionRunner:
    return FunctionRunner.model_validate(raw_runner(name, **wanted))


def raw_job(
    name: str = "alley",
    *,
    namespace: str = "film",
    uid: str = UID,
    version: int = 1,
    created: datetime = NOW,
    status: Raw | None = None,
    **spec: Any,
) -> Raw:
    spec.setdefault("params", {"prompt": "a misty alley at night"})
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": created.isoformat(),
    }
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def job(name: str = "alley", **wanted: Any) -> GenerationJob:
    """Nobody has looked at it yet."""
    return GenerationJob.model_validate(raw_job(name, **wanted))


def having(one: GenerationJob, status: GenerationJobStatus, *, version: int | None = None) -> GenerationJob:
    meta = one.metadata if version is None else one.metadata.model_copy(update={"resource_version": str(version)})
    return one.model_copy(update={"status": status, "metadata": meta})


def waiting(name: str = "alley", *, by: FunctionRunner | None = None, **wanted: Any) -> GenerationJob:
    """Planned: it waits for nothing but a worker."""
    made = job(name, **wanted)
    seen = Seen(catalogue=(by or runner(),), lookup=nobody, platform=CLUSTER)
    return having(made, next_status(made, seen, NOW))


def dispatched(name: str = "alley", **wanted: Any) -> GenerationJob:
    """Its first attempt has a pod of its own."""
    made = waiting(name, **wanted)
    return having(made, dispatch(made, NOW, pod=True))


def running(name: str = "alley", **wanted: Any) -> GenerationJob:
    made = dispatched(name, **wanted)
    meta = made.metadata
    asked = ClaimRequest(namespace=meta.namespace, name=name, uid=meta.uid, attempt=1, worker=POD, nonce="n")
    granted = claim(made, asked, nobody, NOW)
    assert isinstance(granted, ClaimGranted)
    return having(made, granted.status)


def plan_of(one: GenerationJob) -> Plan:
    assert one.status.plan is not None
    return one.status.plan


# ── pods ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def raw_pod(
    name: str = POD,
    *,
    version: int = 10,
    labels: Mapping[str, str] | None = None,
    namespace: str = "film",
    owner: str = BATCH_UID,
    created: datetime = NOW,
    deleting: bool = False,
    container: Raw | None = None,
    conditions: Mapping[str, Raw] | None = None,
    **status: Any,
) -> Raw:
    """The pod of the job's first attempt. `owner`: the uid of the Job that controls it. `container`: the state of the
    one called worker.
    """
    of_job = {names.LABEL_JOB: "alley", names.LABEL_JOB_UID: UID, names.LABEL_ATTEMPT: "1"}
    own = of_job | {names.LABEL_POOL: POOL, names.LABEL_RUNNER: "painter"}
    metadata: Raw = {
        "name": name,
        "namespace": namespace,
        "resourceVersion": str(version),
        "creationTimestamp": created.isoformat(),
        "labels": own if labels is None else dict(labels),
        "ownerReferences": [_controlled_by("batch/v1", "Job", "alley-1", owner)] if owner else [],
    }
    if deleting:
        metadata["deletionTimestamp"] = NOW.isoformat()
    if container is not None:
        status["containerStatuses"] = [{"name": "worker", "state": container}]
    if conditions is not None:
        status["conditions"] = [{"type": kind, **said} for kind, said in conditions.items()]
    status.setdefault("phase", "Pending")
    return {"metadata": metadata, "spec": {}, "status": status}


def _controlled_by(version: str, kind: str, name: str, uid: str) -> Raw:
    return {"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": True}


def pod(name: str = POD, **wanted: Any) -> Pod:
    return pod_of(raw_pod(name, **wanted))


def unschedulable(message: str) -> Raw:
    return {"conditions": {"PodScheduled": {"status": "False", "reason": "Unschedulable", "message": message}}}


def disrupted(reason: str, message: str = "") -> Raw:
    return {"conditions": {"DisruptionTarget": {"status": "True", "reason": reason, "message": message}}}


def exited(code: int, reason: str = "Error", message: str = "") -> Raw:
    """The state of a container that has ended; `message` is what it left in its termination log."""
    told = {"message": message} if message else {}
    times = {"startedAt": NOW.isoformat(), "finishedAt": after(30).isoformat()}
    return {"terminated": {"exitCode": code, "reason": reason, **times, **told}}


def word(**said: Any) -> str:
    """The last word of the agent in the pod of the job's first attempt."""
    who = {"namespace": "film", "name": "alley", "uid": UID, "attempt": 1, "worker": POD}
    times = {"started_at": NOW, "finished_at": after(30)} if said.get("outcome") else {}
    return TerminationMessage.model_validate({**who, **times, **said}).model_dump_json(exclude_defaults=True)


def report(outcome: Outcome = Outcome.SUCCEEDED, **said: Any) -> Report:
    who = {"namespace": "film", "name": "alley", "uid": UID, "attempt": 1, "worker": POD, "token": ""}
    times = {"started_at": NOW, "finished_at": after(30)}
    return Report.model_validate({**who, **times, "outcome": outcome, **said})


def node(name: str = "a", *, gigabytes: float = 0, gpus: int = 0) -> Node:
    return Node(name, gpus or int(bool(gigabytes)), int(gigabytes * 1024))


# ── batch/v1 Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def raw_batch_job(*, suspend: bool = False, conditions: Mapping[str, str] | None = None) -> Raw:
    """Of the job's first attempt. `conditions`: those that are true, and why."""
    labels = {names.LABEL_JOB_UID: UID, names.LABEL_ATTEMPT: "1"}
    said = [{"type": kind, "status": "True", "reason": why} for kind, why in (conditions or {}).items()]
    return {
        "metadata": {
            "name": "alley-1",
            "uid": BATCH_UID,
            "labels": labels,
            "annotations": {},
            "ownerReferences": [_controlled_by(names.API_VERSION, "GenerationJob", "alley", UID)],
        },
        "spec": {"suspend": suspend},
        "status": {"conditions": said} if said else {},
    }
