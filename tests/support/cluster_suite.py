"""What the operator relies on of an API server, written once: it holds on the cluster in memory and on a real one.

A module that runs it subclasses `ClusterSuite`, and has the fixtures `cluster` (the operator's client) and `namespace`
(an empty one).
"""

import re
from typing import Any

import pytest

from auteur_contracts import names
from auteur_control.errors import Conflicted, Exists, Gone, Invalid
from auteur_operator.cluster import Cluster, path_of
from tests.support.waiting import eventually

Json = dict[str, Any]
_SECONDS = 30


def jobs_path(namespace: str, name: str = "", sub: str = "") -> str:
    return path_of(names.API_VERSION, "generationjobs", namespace, name, sub)


def job(name: str = "alley", **spec: Any) -> Json:
    params = {"prompt": "a misty alley at night"}
    spec = {"params": params, **spec}
    return {"apiVersion": names.API_VERSION, "kind": "GenerationJob", "metadata": {"name": name}, "spec": spec}


def secret(name: str = "note", labels: Json | None = None, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels or {}},
        "stringData": data,
    }


def pod(name: str, **labels: str) -> Json:
    """Nobody schedules it."""
    spec = {"schedulerName": "nobody", "containers": [{"name": "worker", "image": "registry.invalid/none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def batch_job(name: str, *, suspend: bool = False) -> Json:
    """Its pods have labels of their own, and nobody schedules them."""
    spec = {"restartPolicy": "Never", **pod("")["spec"]}
    template = {"metadata": {"labels": {"attempt": "1"}}, "spec": spec}
    asked = {"backoffLimit": 0, "suspend": suspend, "podReplacementPolicy": "Failed", "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": asked}


def owned_by(owner: Json, made: Json) -> Json:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {**made, "metadata": {**made["metadata"], "ownerReferences": [reference]}}


def status_of(made: Json, **status: Any) -> Json:
    """A write of the status alone, as the operator does it."""
    meta = {key: made["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": meta, "spec": {}, "status": status}


async def names_of(cluster: Cluster, path: str, **query: str) -> list[str]:
    return [each["metadata"]["name"] for each in (await cluster.list(path, **query))[0]]


class ClusterSuite:
    # ── objects ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_what_is_created_is_found_until_it_is_deleted(self, cluster: Cluster, namespace: str) -> None:
        path = jobs_path(namespace, "alley")
        assert await cluster.find(path) is None
        made = await cluster.create(jobs_path(namespace), job())
        assert made == await cluster.get(path)
        meta = made["metadata"]
        assert (meta["name"], meta["namespace"], meta["generation"]) == ("alley", namespace, 1)
        assert meta["uid"]
        assert int(meta["resourceVersion"]) > 0
        assert meta["creationTimestamp"].endswith("Z")
        await cluster.delete(path)
        with pytest.raises(Gone):
            await cluster.get(path)

    async def test_a_name_is_taken_once(self, cluster: Cluster, namespace: str) -> None:
        await cluster.make(jobs_path(namespace), job())
        with pytest.raises(Exists):
            await cluster.make(jobs_path(namespace), job())

    async def test_a_name_that_comes_back_is_another_object(self, cluster: Cluster, namespace: str) -> None:
        first = await cluster.create(jobs_path(namespace), job())
        await cluster.delete(jobs_path(namespace, "alley"))
        second = await cluster.create(jobs_path(namespace), job())
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        assert int(first["metadata"]["resourceVersion"]) < int(second["metadata"]["resourceVersion"])

    async def test_nothing_is_made_where_there_is_no_namespace(self, cluster: Cluster, namespace: str) -> None:
        nowhere = f"{namespace}-not"
        with pytest.raises(Gone):
            await cluster.create(path_of("v1", "secrets", nowhere), secret())
        assert await cluster.list(jobs_path(nowhere))

    async def test_an_object_goes_where_its_path_says(self, cluster: Cluster, namespace: str) -> None:
        astray = job()
        astray["metadata"]["namespace"] = "default"
        with pytest.raises(Invalid):
            await cluster.create(jobs_path(namespace), astray)

    # ── versions ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_of_two_that_read_the_same_one_writes(self, cluster: Cluster, namespace: str) -> None:
        read = await cluster.create(jobs_path(namespace), job())
        path = jobs_path(namespace, "alley")
        version = await cluster.replace(path, {**read, "spec": {**read["spec"], "suspend": True}})
        assert version == (await cluster.get(path))["metadata"]["resourceVersion"] > read["metadata"]["resourceVersion"]
        with pytest.raises(Conflicted):
            await cluster.replace(path, {**read, "spec": {**read["spec"], "cancel": True}})
        assert "cancel" not in (await cluster.get(path))["spec"]

    async def test_a_write_that_changes_nothing_makes_no_version(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        path = jobs_path(namespace, "alley")
        assert await cluster.replace(path, made) == made["metadata"]["resourceVersion"]
        assert await cluster.merge(path, {"spec": {"project": "default"}}) == made

    async def test_a_write_says_what_it_read(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(jobs_path(namespace), job())
        with pytest.raises(Invalid, match="resourceVersion"):
            await cluster.replace(jobs_path(namespace, "alley"), job(suspend=True))

    async def test_a_write_of_what_is_gone_is_refused(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        await cluster.delete(jobs_path(namespace, "alley"))
        with pytest.raises(Gone):
            await cluster.replace(jobs_path(namespace, "alley"), made)
        with pytest.raises(Gone):
            await cluster.replace(jobs_path(namespace, "alley", "status"), status_of(made, phase="Queued"))
        with pytest.raises(Gone):
            await cluster.merge(jobs_path(namespace, "alley"), {"spec": {"suspend": True}})

    async def test_a_write_meant_for_another_of_the_name_is_refused(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        meant = {**made, "metadata": {**made["metadata"], "uid": "6f0c1a52-0000-4000-8000-000000000001"}}
        with pytest.raises(Conflicted):
            await cluster.replace(jobs_path(namespace, "alley", "status"), status_of(meant, phase="Queued"))

    async def test_a_lease_has_one_writer(self, cluster: Cluster, namespace: str) -> None:
        leases = path_of("coordination.k8s.io/v1", "leases", namespace)
        manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"}}
        made = await cluster.create(leases, {**manifest, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 10}})
        with pytest.raises(Exists):
            await cluster.create(leases, {**manifest, "spec": {"holderIdentity": "b"}})
        renewed = {**made, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 20}}
        assert await cluster.replace(f"{leases}/operator", renewed) > made["metadata"]["resourceVersion"]
        with pytest.raises(Conflicted):
            await cluster.replace(f"{leases}/operator", {**made, "spec": {"holderIdentity": "b"}})

    async def test_a_lease_that_is_gone_is_written_anew(self, cluster: Cluster, namespace: str) -> None:
        """Of other kinds such a write is refused."""
        leases = path_of("coordination.k8s.io/v1", "leases", namespace)
        manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"}}
        made = await cluster.create(leases, {**manifest, "spec": {"holderIdentity": "a"}})
        await cluster.delete(f"{leases}/operator")
        with pytest.raises(Conflicted):
            await cluster.replace(f"{leases}/operator", made)
        version = made["metadata"]["resourceVersion"]
        again = {**manifest, "metadata": {"name": "operator", "resourceVersion": version}}
        assert await cluster.replace(f"{leases}/operator", {**again, "spec": {"holderIdentity": "a"}}) > version

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_whoever_creates_says_nothing_of_the_status(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), {**job(), "status": {"phase": "Succeeded"}})
        assert "status" not in made

    async def test_a_write_of_the_status_changes_the_status_alone(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        manifest = status_of(made, phase="Queued")
        manifest["metadata"]["labels"] = {"film": "noir"}
        version = await cluster.replace(jobs_path(namespace, "alley", "status"), manifest)
        now = await cluster.get(jobs_path(namespace, "alley"))
        assert now["status"] == {"phase": "Queued"}
        assert now["spec"] == made["spec"]
        assert "labels" not in now["metadata"]
        assert (now["metadata"]["generation"], now["metadata"]["resourceVersion"]) == (1, version)

    async def test_a_write_of_the_object_keeps_the_status(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        await cluster.replace(jobs_path(namespace, "alley", "status"), status_of(made, phase="Queued"))
        patch = {"spec": {"suspend": True}, "status": {"phase": "Failed"}}
        patched = await cluster.merge(jobs_path(namespace, "alley"), patch)
        assert (patched["status"], patched["metadata"]["generation"]) == ({"phase": "Queued"}, 2)
        patched["status"] = {"phase": "Failed"}
        await cluster.replace(jobs_path(namespace, "alley"), patched)
        assert (await cluster.get(jobs_path(namespace, "alley")))["status"] == {"phase": "Queued"}

    async def test_only_a_change_of_the_spec_makes_a_generation(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(jobs_path(namespace), job())
        labelled = await cluster.merge(jobs_path(namespace, "alley"), {"metadata": {"labels": {"film": "noir"}}})
        assert labelled["metadata"]["generation"] == 1

    # ── what is let in ────────────────────────────────────────────────────────────────────────────────────────────

    async def test_what_is_left_out_has_its_default_and_what_is_unknown_goes(
        self, cluster: Cluster, namespace: str
    ) -> None:
        made = await cluster.create(jobs_path(namespace), job(quantity=3))
        assert made["spec"] == {
            "params": {"prompt": "a misty alley at night"},
            "function": "text-to-image",
            "quality": "standard",
            "project": "default",
            "priority": "normal",
            "retries": 2,
            "deadline": "5m",
            "startDeadline": "1h",
            "ttlSecondsAfterFinished": 86400,
        }

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"quality": "best"}, "quality"),
            ({"retries": 11}, "retries"),
            ({"retries": "2"}, "retries"),
            ({"function": "Text To Image"}, "function"),
            ({"deadline": "soon"}, "deadline"),
            ({"deadline": "0s"}, "deadline"),
            ({"inputs": [{"name": "image"}]}, "inputs"),
            ({"inputs": [{"name": "image", "from": {"job": "a"}}, {"name": "image", "from": {"job": "b"}}]}, "inputs"),
        ],
    )
    async def test_a_spec_that_the_schema_refuses(
        self, wrong: Json, told: str, cluster: Cluster, namespace: str
    ) -> None:
        with pytest.raises(Invalid, match=told):
            await cluster.create(jobs_path(namespace), job(**wrong))

    async def test_a_name_that_names_of_pods_cannot_be_made_from(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(Invalid, match="at most 50"):
            await cluster.create(jobs_path(namespace), job("a" * 51))
        await cluster.create(jobs_path(namespace), job("a" * 50))

    async def test_a_spec_that_was_asked_for_stays(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(jobs_path(namespace), job())
        for patch in ({"quality": "high"}, {"params": {"prompt": "a canyon"}}, {"runner": "painter"}):
            with pytest.raises(Invalid, match="cannot be changed"):
                await cluster.merge(jobs_path(namespace, "alley"), {"spec": patch})
        await cluster.merge(jobs_path(namespace, "alley"), {"spec": {"suspend": True}})
        await cluster.merge(jobs_path(namespace, "alley"), {"spec": {"suspend": None, "cancel": True}})
        with pytest.raises(Invalid, match="stays cancelled"):
            await cluster.merge(jobs_path(namespace, "alley"), {"spec": {"cancel": False}})

    async def test_a_status_that_the_schema_refuses(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        with pytest.raises(Invalid, match="attempt"):
            await cluster.replace(jobs_path(namespace, "alley", "status"), status_of(made, attempt=-1))

    # ── patches ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_patch_merges_and_null_deletes(self, cluster: Cluster, namespace: str) -> None:
        path = path_of("v1", "secrets", namespace)
        await cluster.create(path, secret(labels={"a": "1", "b": "2"}))
        patched = await cluster.merge(f"{path}/note", {"metadata": {"labels": {"a": None, "c": "3"}}})
        assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}

    async def test_what_is_applied_is_made_and_then_kept_so(self, cluster: Cluster, namespace: str) -> None:
        path = path_of("v1", "secrets", namespace, "note")
        manifest: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "note", "labels": {"ours": "yes"}}}
        first = await cluster.apply(path, {**manifest, "data": {"user": "YQ==", "old": "Yg=="}})
        await cluster.merge(path, {"metadata": {"labels": {"theirs": "yes"}}, "data": {"user": "eA=="}})
        again = await cluster.apply(path, {**manifest, "data": {"user": "Yw=="}})
        assert again["metadata"]["uid"] == first["metadata"]["uid"]
        assert again["metadata"]["labels"] == {"ours": "yes", "theirs": "yes"}
        assert again["data"] == {"user": "Yw=="}
        assert (await cluster.apply(path, {**manifest, "data": {"user": "Yw=="}}))["data"] == {"user": "Yw=="}

    # ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_lists_are_sorted_and_selected(self, cluster: Cluster, namespace: str) -> None:
        path = path_of("v1", "secrets", namespace)
        for name, labels in (("c", {"a": "1", "b": "2"}), ("a", {"a": "1"}), ("b", {"a": "2"})):
            await cluster.make(path, secret(name, labels))
        assert await names_of(cluster, path) == ["a", "b", "c"]
        assert await names_of(cluster, path, labelSelector="a=1") == ["a", "c"]
        assert await names_of(cluster, path, labelSelector="a=1,b=2") == ["c"]
        assert await names_of(cluster, path, fieldSelector=f"metadata.namespace={namespace},metadata.name=b") == ["b"]
        assert "c" in await names_of(cluster, path_of("v1", "secrets"), labelSelector="b=2")
        with pytest.raises(Invalid, match="not supported"):
            await cluster.list(path_of("v1", "events", namespace), fieldSelector="message=x")

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_to_delete_what_is_gone_is_done(self, cluster: Cluster, namespace: str) -> None:
        await cluster.delete(jobs_path(namespace, "alley"))

    async def test_another_of_the_name_is_not_deleted(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(jobs_path(namespace), job())
        await cluster.delete(jobs_path(namespace, "alley"), uid="6f0c1a52-0000-4000-8000-000000000001")
        assert await cluster.find(jobs_path(namespace, "alley")) == made
        await cluster.delete(jobs_path(namespace, "alley"), uid=made["metadata"]["uid"])
        assert await cluster.find(jobs_path(namespace, "alley")) is None

    async def test_what_an_object_owns_goes_after_it(self, cluster: Cluster, namespace: str) -> None:
        path = path_of("batch/v1", "jobs", namespace)
        owner = await cluster.create(jobs_path(namespace), job())
        await cluster.make(path, owned_by(owner, batch_job("alley-1")))
        await cluster.make(path, batch_job("foreign-1"))
        await _pods(cluster, namespace, 2)
        await cluster.delete(jobs_path(namespace, "alley"))
        await _pods(cluster, namespace, 1)
        assert await names_of(cluster, path) == ["foreign-1"]

    # ── the Job controller ────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_job_has_a_pod_of_its_template(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(path_of("batch/v1", "jobs", namespace), batch_job("alley-1"))
        (its,) = await _pods(cluster, namespace, 1)
        assert its["metadata"]["name"].startswith("alley-1-")
        assert its["metadata"]["labels"]["attempt"] == "1"
        assert its["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        assert its["status"]["phase"] == "Pending"
        assert its["spec"]["containers"][0]["name"] == "worker"
        assert await cluster.log(namespace, its["metadata"]["name"], "worker", 5) == ()

    async def test_a_suspended_job_has_no_pod(self, cluster: Cluster, namespace: str) -> None:
        path = path_of("batch/v1", "jobs", namespace)
        await cluster.make(path, batch_job("later-1", suspend=True))
        await cluster.make(path, batch_job("now-1"))
        await _pods(cluster, namespace, 1)
        await cluster.merge(f"{path}/later-1", {"spec": {"suspend": False}})
        await _pods(cluster, namespace, 2)
        await cluster.merge(f"{path}/later-1", {"spec": {"suspend": True}})
        (left,) = await _pods(cluster, namespace, 1)
        assert left["metadata"]["name"].startswith("now-1-")

    async def test_a_pod_of_a_job_is_kept_until_it_has_ended(self, cluster: Cluster, namespace: str) -> None:
        """Who deletes it marks it, even where no kubelet has it."""
        await cluster.make(path_of("batch/v1", "jobs", namespace), batch_job("alley-1"))
        (its,) = await _pods(cluster, namespace, 1)
        path = path_of("v1", "pods", namespace, its["metadata"]["name"])
        await cluster.delete(path)
        marked = await cluster.get(path)
        assert "deletionTimestamp" in marked["metadata"]
        assert marked["status"]["phase"] == "Pending"
        await cluster.delete(path_of("batch/v1", "jobs", namespace, "alley-1"))
        await _pods(cluster, namespace, 0)

    async def test_a_quota_refuses_the_pod_and_the_jobs_events_say_why(self, cluster: Cluster, namespace: str) -> None:
        quotas = path_of("v1", "resourcequotas", namespace)
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
        await cluster.make(quotas, {**quota, "spec": {"hard": {"pods": "0"}}})
        await eventually(lambda: _is_counted(cluster, f"{quotas}/none"), "the quota to count", seconds=_SECONDS)
        made = await cluster.create(path_of("batch/v1", "jobs", namespace), batch_job("alley-1"))
        about = f"involvedObject.uid={made['metadata']['uid']},reason=FailedCreate"
        events = path_of("v1", "events", namespace)
        await eventually(lambda: names_of(cluster, events, fieldSelector=about), "an event", seconds=_SECONDS)
        told = (await cluster.list(events, fieldSelector=about))[0][0]["message"]
        why = "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"
        assert re.fullmatch(rf'Error creating: pods "alley-1-\w{{5}}" is forbidden: {why}', told)
        await cluster.delete(f"{quotas}/none")
        await _pods(cluster, namespace, 1)


async def _is_counted(cluster: Cluster, path: str) -> bool:
    return "hard" in (await cluster.get(path)).get("status", {})


async def _pods(cluster: Cluster, namespace: str, count: int) -> list[Json]:
    """As soon as there are so many."""
    found: list[Json] = []

    async def are_there() -> bool:
        found[:], _ = await cluster.list(path_of("v1", "pods", namespace))
        return len(found) == count

    await eventually(are_there, f"{count} pods", seconds=_SECONDS)
    return found
