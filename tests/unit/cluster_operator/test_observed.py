"""What an API server shows, as values; raw objects as it sends them."""

from datetime import timedelta
from typing import Any

import pytest

from auteur_contracts import names
from auteur_control.reading import moment
from auteur_operator.observed import AS_USUAL, NOTHING, BatchJob, Cause, Pod, Terminated, batch_job_of, pod_of
from tests.unit.cluster_operator.making import (
    BATCH_UID,
    NOW,
    POD,
    POOL,
    UID,
    after,
    disrupted,
    exited,
    pod,
    raw_pod,
    unschedulable,
)


def test_a_pod_that_was_just_made_says_nothing_yet() -> None:
    bare = {"metadata": {"name": "p", "namespace": "film", "resourceVersion": "7"}, "spec": {}}
    assert pod_of(bare) == Pod(
        namespace="film",
        name="p",
        version=7,
        owner_uid="",
        job="",
        job_uid="",
        attempt=0,
        pool="",
        runner="",
        phase="Pending",
        cause=NOTHING,
        unschedulable=NOTHING,
        waiting=NOTHING,
        disruption=NOTHING,
        terminated=None,
        deleting=False,
        created=None,
    )


def test_a_pod_of_an_attempt_that_ended_says_all() -> None:
    raw = raw_pod(
        version=12,
        phase="Failed",
        reason="Evicted",
        message="The node was low on resource: memory.",
        deleting=True,
        container=exited(137, "OOMKilled", "last words"),
        **disrupted("TerminationByKubelet", "low on memory"),
    )
    assert pod_of(raw) == Pod(
        namespace="film",
        name=POD,
        version=12,
        owner_uid=BATCH_UID,
        job="alley",
        job_uid=UID,
        attempt=1,
        pool=POOL,
        runner="painter",
        phase="Failed",
        cause=Cause("Evicted", "The node was low on resource: memory."),
        unschedulable=NOTHING,
        waiting=NOTHING,
        disruption=Cause("TerminationByKubelet", "low on memory"),
        terminated=Terminated(137, Cause("OOMKilled", "last words"), NOW, after(30)),
        deleting=True,
        created=NOW,
    )


def test_only_the_condition_that_is_false_makes_a_pod_unschedulable() -> None:
    assert pod(**unschedulable("0/3 nodes are available.")).unschedulable == Cause(
        "Unschedulable", "0/3 nodes are available."
    )
    placed = pod(conditions={"PodScheduled": {"status": "True"}, "DisruptionTarget": {"status": "False"}})
    assert (placed.unschedulable, placed.disruption) == (NOTHING, NOTHING)


def test_only_the_workers_container_counts() -> None:
    """A mesh puts its own beside it."""
    raw = raw_pod(phase="Running")
    raw["status"]["containerStatuses"] = [
        {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
        {"name": "worker", "state": {"running": {"startedAt": NOW.isoformat()}}},
    ]
    assert (pod_of(raw).waiting, pod_of(raw).terminated) == (NOTHING, None)


def test_a_container_that_waits_says_why() -> None:
    waits = pod(container={"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    assert waits.waiting == Cause("ErrImagePull", "not found")


@pytest.mark.parametrize(
    ("phase", "ended"),
    [("Pending", False), ("Running", False), ("Unknown", False), ("Succeeded", True), ("Failed", True)],
)
def test_a_pod_has_ended_when_its_phase_says_so(phase: str, ended: bool) -> None:  # noqa: FBT001  # a table
    assert pod(phase=phase).ended is ended


@pytest.mark.parametrize("label", ["", "two", "-1", "²", "1.5"])
def test_a_label_that_is_no_number_is_no_attempt(label: str) -> None:
    """Whoever may write pods may write labels."""
    assert pod(labels={names.LABEL_ATTEMPT: label}).attempt == 0


def test_a_moment_is_read_as_api_servers_write_it() -> None:
    assert (moment("2026-01-01T12:00:00Z"), moment("2026-01-01T12:00:00.500000Z"), moment(None), moment("")) == (
        NOW,
        NOW + timedelta(milliseconds=500),
        None,
        None,
    )


# ── batch/v1 Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def batch(*conditions: dict[str, Any], **spec: Any) -> BatchJob:
    owner = {"apiVersion": names.API_VERSION, "kind": "GenerationJob", "name": "alley", "uid": UID, "controller": True}
    meta = {"name": "alley-2", "uid": "b", "ownerReferences": [owner], "annotations": {names.ANNOTATION_PLAN: "{}"}}
    return batch_job_of({"metadata": meta, "spec": spec, "status": {"conditions": list(conditions)}})


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "", "message": ""}


def test_a_job_that_runs() -> None:
    assert batch() == BatchJob(uid="b", job_uid=UID, plan="{}", suspended=False, ended=False, deleting=False)


@pytest.mark.parametrize("kind", ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"])
def test_a_job_that_ended_or_is_about_to_say_so(kind: str) -> None:
    assert batch(condition(kind)).ended


def test_a_condition_that_does_not_hold_ends_nothing() -> None:
    assert not batch(condition("Failed", status="False"), condition("Suspended")).ended


def test_a_job_that_somebody_else_made_belongs_to_no_attempt() -> None:
    meta = {"name": "alley-1", "uid": "b", "labels": {names.LABEL_JOB_UID: UID}}
    found = batch_job_of({"metadata": meta, "spec": {"suspend": True}})
    assert (found.job_uid, found.plan, found.suspended) == ("", "", True)


@pytest.mark.parametrize(
    "owner",
    [
        {"apiVersion": "batch/v1", "kind": "Job", "uid": BATCH_UID},
        {"apiVersion": "batch/v1", "kind": "Job", "uid": BATCH_UID, "controller": False},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": BATCH_UID, "controller": True},
        {"apiVersion": names.API_VERSION, "kind": "Job", "uid": BATCH_UID, "controller": True},
    ],
)
def test_only_a_batch_job_that_controls_a_pod_owns_it(owner: dict[str, Any]) -> None:
    raw = raw_pod(owner="")
    raw["metadata"]["ownerReferences"] = [owner]
    assert pod_of(raw).owner_uid == ""


@pytest.mark.parametrize(
    ("seen", "is_news", "why"),
    [
        (pod(phase="Pending"), False, "just made"),
        (pod(phase="Pending", container={"waiting": {"reason": "ContainerCreating"}}), False, "its image is pulled"),
        (pod(phase="Running", container={"running": {}}), False, "its agent says more than its pod"),
        (pod(phase="Pending", container={"waiting": {"reason": "ErrImagePull"}}), True, "it may never start"),
        (pod(phase="Pending", **unschedulable("0/5 nodes are available")), True, "nor here"),
        (pod(phase="Running", deleting=True), True, "somebody wants it gone"),
        (pod(phase="Succeeded", container=exited(0, "Completed", "words")), True, "it ended"),
        (pod(phase="Failed", reason="Evicted"), True, "it was ended"),
    ],
)
def test_what_of_a_pod_is_news_to_its_job(seen: Pod, is_news: bool, why: str) -> None:  # noqa: FBT001  # a table
    assert (seen.told != AS_USUAL) is is_news, why
