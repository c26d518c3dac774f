"""The Kubernetes that the other tests stand on is what it claims to be."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import api
from tests.support.cluster.control_plane import Cluster, ControlPlane, Options, control_plane, running
from tests.support.cluster.kubectl import Kubectl, KubectlFailed
from tests.support.cluster.kwok import DEVICE_CLASS, End, Player, Shape, ends, playing
from tests.support.waiting import eventually, wait_for


def pod(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.test/runner:1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def job(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """As the operator makes them: one pod, no second try by Kubernetes."""
    made = pod(name, annotations)
    template = {"metadata": {"annotations": annotations or {}}, "spec": made["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def conditions(resource: dict[str, Any]) -> dict[str, str]:
    """Type → reason, of those that are true."""
    found = resource["status"].get("conditions", [])
    return {each["type"]: each.get("reason", "") for each in found if each["status"] == "True"}


@pytest.fixture
def here(kubectl: Kubectl, namespace: str) -> Kubectl:
    return kubectl.within(namespace)


# ── its programs ──────────────────────────────────────────────────────────────────────────────────────────────────────

CLUSTER_TOOLS = Path(__file__).parents[2] / "scripts" / "cluster-tools"


def asked(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **environment}
    return subprocess.run((CLUSTER_TOOLS, *words), env=environment, capture_output=True, text=True, check=False)


def test_what_was_not_built_is_named_with_the_command_that_builds_it(tmp_path: Path) -> None:
    told = asked("--print", "control-plane", XDG_CACHE_HOME=str(tmp_path), KUBEBUILDER_ASSETS="")

    assert told.returncode == 1
    assert "not built yet: etcd kube-apiserver kubectl" in told.stderr
    assert "scripts/cluster-tools control-plane" in told.stderr
    assert told.stdout == ""


def test_programs_of_kubebuilder_assets_come_first(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for program in ("kube-apiserver", "etcd", "kubectl"):
        (assets / program).touch(mode=0o755)

    folders = asked("--print", "control-plane", KUBEBUILDER_ASSETS=str(assets)).stdout.strip().split(":")

    assert folders[0] == str(assets)
    assert any((Path(folder) / "kube-scheduler").exists() for folder in folders[1:])


# ── the control plane ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_the_version_that_was_asked_for(kubectl: Kubectl) -> None:
    version = json.loads(kubectl("version", "-o", "json"))
    assert version["serverVersion"]["gitVersion"] == "v1.36.3"
    assert version["clientVersion"]["gitVersion"] == "v1.36.3"


def test_who_has_no_role_may_nothing(here: Kubectl, control_plane: Cluster, namespace: str) -> None:
    here("create", "serviceaccount", "somebody")
    somebody = here.named(control_plane.service_account(namespace, "somebody"))

    with pytest.raises(KubectlFailed, match=f"system:serviceaccount:{namespace}:somebody.*cannot list resource"):
        somebody("get", "pods")

    here("create", "role", "reader", "--verb=get,list", "--resource=pods")
    here("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:somebody")
    assert somebody.get("pods")["items"] == []
    with pytest.raises(KubectlFailed, match="cannot create resource"):
        somebody.create(pod("mine"))


def test_a_node_may_not_touch_another_node(own_control_plane: ControlPlane) -> None:
    own_control_plane.kubectl.create(*Shape("node", count=2).resources())
    kubeconfig = own_control_plane.user("node-0", user="system:node:node-0", groups=["system:nodes"])
    node = own_control_plane.kubectl.named(kubeconfig)

    node("annotate", "node", "node-0", "mine=yes")
    with pytest.raises(KubectlFailed, match="only its own Node object"):
        node("annotate", "node", "node-1", "mine=no")


def test_what_was_written_outlives_the_api_server(own_control_plane: ControlPlane) -> None:
    kubectl = own_control_plane.kubectl
    kubectl("create", "configmap", "kept", "--from-literal=word=yes")

    own_control_plane.apiserver.kill()
    assert kubectl.run("get", "configmap", "kept", "--request-timeout=2s").returncode != 0
    own_control_plane.apiserver.start()
    assert kubectl.get("configmap", "kept")["data"] == {"word": "yes"}

    own_control_plane.etcd.restart()
    wait_for(lambda: kubectl.run("get", "configmap", "kept").returncode == 0, "the API server to find etcd again")


def test_a_paused_api_server_answers_nobody_until_it_goes_on(own_control_plane: ControlPlane) -> None:
    own_control_plane.apiserver.pause()
    asked = own_control_plane.kubectl.run("get", "namespaces", "--request-timeout=1s")
    own_control_plane.apiserver.resume()

    assert asked.returncode != 0
    assert "default" in own_control_plane.kubectl("get", "namespaces", "-o", "name")


def test_the_audit_log_says_who_wrote_what(own_control_plane: ControlPlane) -> None:
    own_control_plane.kubectl("create", "configmap", "seen", "--from-literal=secret=hidden")

    seen = [
        (line["user"]["username"], line["verb"], line["responseStatus"]["code"])
        for line in own_control_plane.audited()
        if (line.get("objectRef") or {}).get("name") == "seen"
    ]
    assert seen == [("admin", "create", 201)]
    assert "hidden" not in own_control_plane.audit_log.read_text()
    assert not [
        line for line in own_control_plane.audited() if (line.get("objectRef") or {}).get("resource") == "events"
    ]


def test_two_at_once_do_not_meet(own_control_plane: ControlPlane, tmp_path: Path) -> None:
    with running(tmp_path / "other") as other:
        own_control_plane.kubectl("create", "configmap", "only-here")
        assert other.kubectl.run("get", "configmap", "only-here").returncode != 0
        foreign = own_control_plane.kubectl.run("get", "ns", "--server", other.url, "--request-timeout=5s")
        assert "certificate signed by unknown authority" in foreign.stderr


def test_all_of_it_starts_with_what_is_put_before_it(tmp_path: Path) -> None:
    made = control_plane(tmp_path / "prefixed", Options(prefix=("env", "HOME=/nonexistent")))
    with contextlib.ExitStack() as stack:
        stack.callback(made.stop)
        made.start()
        assert all(part.argv[:2] == ("env", "HOME=/nonexistent") for part in made.parts)
        assert "default" in made.kubectl("get", "namespaces", "-o", "name")


def test_a_cluster_that_exists_is_used_from_a_copy_of_its_kubeconfig(control_plane: Cluster, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    kubeconfig = theirs / "config"
    kubeconfig.write_text(control_plane.kubeconfig.read_text())
    ours = tmp_path / "ours"
    ours.mkdir()

    existing = Cluster.existing(kubeconfig, ours)

    assert "default" in existing.kubectl("get", "namespaces", "-o", "name")
    assert list(theirs.iterdir()) == [kubeconfig]


# ── controllers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_runs_to_complete(here: Kubectl) -> None:
    here.create(job("once"))
    here("wait", "--for=condition=Complete", "job/once", "--timeout=90s")

    status = here.get("job", "once")["status"]
    assert (status["succeeded"], status.get("failed", 0)) == (1, 0)


def test_what_is_owned_goes_with_its_owner(here: Kubectl) -> None:
    here("create", "configmap", "owner")
    uid = here.get("configmap", "owner")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}
    owned = job("owned", ends(End.HANG))
    owned["metadata"]["ownerReferences"] = [owner]
    here.create(owned)
    wait_for(lambda: here.get("pods")["items"], "the job's pod")

    here("delete", "configmap", "owner")

    wait_for(lambda: not here.get("jobs,pods")["items"], "job and pod to be collected")


def test_a_finished_job_goes_after_its_ttl(here: Kubectl) -> None:
    here.create(job("brief", ttlSecondsAfterFinished=1))
    wait_for(lambda: here.run("get", "job", "brief").returncode != 0, "the job to be deleted")


def test_a_full_quota_is_told_by_the_job(here: Kubectl) -> None:
    here("create", "quota", "none", "--hard=pods=0")
    wait_for(lambda: here.get("quota", "none").get("status", {}).get("hard"), "the quota to count")
    here.create(job("refused"))

    def told() -> list[Any]:
        events = here.get("events", "--field-selector=involvedObject.name=refused")["items"]
        return [event for event in events if "exceeded quota" in event["message"]]

    assert wait_for(told, "the event")[0]["reason"] == "FailedCreate"


# ── pods, as they are played ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("end", "phase", "reason", "exit_code", "why"),
    [
        (End.SUCCEED, "Succeeded", "Completed", 0, None),
        (End.FAIL, "Failed", "Error", 3, None),
        (End.OOM, "Failed", "OOMKilled", 137, None),
        (End.EVICTED, "Failed", "Error", 137, "Evicted"),
    ],
)
def test_a_pod_ends_as_it_was_asked_to(
    here: Kubectl, end: End, phase: str, reason: str, exit_code: int, why: str | None
) -> None:
    said = '{"message": "a \\"quoted\\" word:\\n# and a line"}'
    here.create(pod("played", ends(end, message=said, exit_code=3)))
    here("wait", "--for=jsonpath={.status.phase}=" + phase, "pod/played", "--timeout=90s")

    status = here.get("pod", "played")["status"]
    terminated = status["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"], terminated["message"]) == (exit_code, reason, said)
    assert status.get("reason") == why
    assert ("DisruptionTarget" in conditions({"status": status})) is (end is End.EVICTED)


def test_a_failed_pod_fails_its_job_once(here: Kubectl) -> None:
    here.create(job("failing", ends(End.FAIL)))
    here("wait", "--for=condition=Failed", "job/failing", "--timeout=90s")

    assert conditions(here.get("job", "failing"))["Failed"] == "BackoffLimitExceeded"
    assert len(here.get("pods")["items"]) == 1


def test_a_pod_that_vanishes_leaves_a_failed_job_and_no_pod(here: Kubectl) -> None:
    here.create(job("vanishing", ends(End.VANISH, after=0.3)))
    here("wait", "--for=condition=Failed", "job/vanishing", "--timeout=90s")
    wait_for(lambda: not here.get("pods")["items"], "the pod to be gone")


@pytest.mark.parametrize(
    ("end", "reason"), [(End.IMAGE_PULL, "ImagePullBackOff"), (End.CONFIG_ERROR, "CreateContainerConfigError")]
)
def test_a_pod_that_cannot_start_waits_and_says_why(here: Kubectl, end: End, reason: str) -> None:
    here.create(pod("stuck", ends(end)))

    def waiting() -> Any:
        statuses = here.get("pod", "stuck")["status"].get("containerStatuses", [])
        return [each["state"]["waiting"] for each in statuses]

    assert wait_for(waiting, "the container's state")[0]["reason"] == reason
    assert here.get("pod", "stuck")["status"]["phase"] == "Pending"


def test_a_pod_that_hangs_meets_its_own_deadline_only(here: Kubectl) -> None:
    here.create(pod("late", ends(End.HANG), activeDeadlineSeconds=1), pod("hanging", ends(End.HANG)))
    here("wait", "--for=jsonpath={.status.phase}=Failed", "pod/late", "--timeout=90s")

    assert here.get("pod", "late")["status"]["reason"] == "DeadlineExceeded"
    assert here.get("pod", "hanging")["status"]["phase"] == "Running"


def test_times_of_a_pod_are_chosen_too(here: Kubectl) -> None:
    here.create(pod("slow", ends(End.SUCCEED, starts_after=1.2, after=2.2)))
    here("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/slow", "--timeout=90s")

    status = here.get("pod", "slow")["status"]
    terminated = status["containerStatuses"][0]["state"]["terminated"]
    scheduled = next(each for each in status["conditions"] if each["type"] == "PodScheduled")["lastTransitionTime"]
    assert scheduled < terminated["startedAt"] < terminated["finishedAt"]


def test_a_deleted_pod_may_take_its_time(here: Kubectl) -> None:
    here.create(pod("leaving", ends(End.HANG, deletes_after=60)))
    here("wait", "--for=condition=Ready", "pod/leaving", "--timeout=90s")

    here("delete", "pod", "leaving", "--wait=false")

    assert here.get("pod", "leaving")["metadata"]["deletionTimestamp"]
    here("delete", "pod", "leaving", "--grace-period=0", "--force")


def test_a_player_that_was_killed_plays_again(own_control_plane: ControlPlane, tmp_path: Path) -> None:
    with playing(own_control_plane, tmp_path / "kwok", Shape(count=1)) as player:
        player.process.kill()
        player.start()

        own_control_plane.kubectl.create(job("afterwards"))

        own_control_plane.kubectl("wait", "--for=condition=Complete", "job/afterwards", "--timeout=90s")


def test_a_silent_node_is_lost_with_its_pods_until_it_speaks_again(tmp_path: Path) -> None:
    impatient = ("--node-monitor-period=500ms", "--node-monitor-grace-period=6s")
    options = Options(arguments={"kube-controller-manager": impatient})
    gone = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    with (
        running(tmp_path / "control-plane", options) as made,
        playing(made, tmp_path / "kwok", Shape(count=3), lease_seconds=2) as player,
    ):
        kubectl = made.kubectl
        kubectl.create(pod("lost", ends(End.HANG), tolerations=[{**gone, "tolerationSeconds": 0}]))
        kubectl("wait", "--for=condition=Ready", "pod/lost", "--timeout=90s")
        node = kubectl.get("pod", "lost")["spec"]["nodeName"]

        player.silence(node)

        wait_for(lambda: "deletionTimestamp" in kubectl.get("pod", "lost")["metadata"], "the eviction")
        assert conditions(kubectl.get("pod", "lost"))["DisruptionTarget"] == "DeletionByTaintManager"
        assert "Ready" not in conditions(kubectl.get("node", node))

        player.wake(node)

        kubectl("wait", "--for=condition=Ready", f"node/{node}", "--timeout=90s")
        kubectl("wait", "--for=delete", "pod/lost", "--timeout=90s")


# ── cards ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

SMALL = Shape("small", count=1, gpus=1, gpu_mib=16_384, product="NVIDIA-Fake-16GB")
LARGE = Shape("large", count=1, gpus=1, gpu_mib=81_920, product="NVIDIA-Fake-80GB")


@pytest.fixture
def cards(fakes: Player) -> Iterator[Player]:
    """Two nodes more: one with a small card, one with a large one."""
    fakes.add(SMALL, LARGE)
    try:
        yield fakes
    finally:
        fakes.remove(SMALL, LARGE)


def test_memory_of_cards_by_labels(here: Kubectl, cards: Player) -> None:
    wants = {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["40000"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [wants]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    container = {"name": "main", "image": "r", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    asking = {"affinity": affinity, "containers": [container]}
    here.create(pod("first", ends(End.HANG), **asking))
    here("wait", "--for=condition=Ready", "pod/first", "--timeout=90s")
    here.create(pod("second", ends(End.HANG), **asking))
    here("wait", "--for=condition=PodScheduled=false", "pod/second", "--timeout=90s")

    assert here.get("pod", "first")["spec"]["nodeName"] == "large-0"
    unscheduled = here.get("pod", "second")["status"]["conditions"][0]
    assert unscheduled["reason"] == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in unscheduled["message"]


def test_memory_of_cards_by_dra_claims(here: Kubectl, cards: Player) -> None:
    expression = f"device.capacity['{DEVICE_CLASS}'].memory.compareTo(quantity('40Gi')) >= 0"
    request = {"deviceClassName": DEVICE_CLASS, "selectors": [{"cel": {"expression": expression}}]}
    template = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": "large-card"},
        "spec": {"spec": {"devices": {"requests": [{"name": "card", "exactly": request}]}}},
    }
    container = {"name": "main", "image": "r", "resources": {"claims": [{"name": "card"}]}}
    asking = {
        "resourceClaims": [{"name": "card", "resourceClaimTemplateName": "large-card"}],
        "containers": [container],
    }
    with cards.devices(SMALL, LARGE):
        here.create(template, pod("first", ends(End.SUCCEED, after=2), **asking))
        here("wait", "--for=condition=Ready", "pod/first", "--timeout=90s")

        claim = here.get("resourceclaims")["items"][0]
        assert claim["status"]["allocation"]["devices"]["results"][0]["pool"] == "large-0"
        assert here.get("pod", "first")["spec"]["nodeName"] == "large-0"

        # The one large card is free again when the first pod ended.
        here.create(pod("second", ends(End.SUCCEED), **asking))
        here("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/second", "--timeout=90s")
    assert cards.cluster.kubectl.run("get", "deviceclass", DEVICE_CLASS).returncode != 0


# ── many ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_hundreds_of_jobs_are_no_trouble(control_plane: Cluster, namespace: str) -> None:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    async with api.connect(control_plane.kubeconfig) as client:
        for index in range(300):
            (await client.post(path, json=job(f"many-{index}"))).raise_for_status()

        done = 0

        async def complete() -> bool:
            nonlocal done
            done = sum("Complete" in conditions(each) for each in await api.items(client, path))
            return done == 300

        await eventually(complete, "300 jobs to complete", progress=lambda: done)
