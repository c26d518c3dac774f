"""What people read when a job does not run, or ends badly: a reason to search for, what happened, and what to do.

Scheduler, quotas, admission, preemption and taints are the real ones; pods' ends are played.
"""

import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from auteur_contracts.vocabulary import Fault, Phase, Reason
from auteur_standalone.servers import LOOPBACK
from tests.support.cluster.certificates import Authority
from tests.support.cluster.kwok import End, Player, Shape, ends
from tests.support.cluster.operators import COLD, Here, Operated, job, masked, message, runner
from tests.support.golden import assert_golden
from tests.support.waiting import eventually

DATA = Path(__file__).parents[1] / "data" / "cluster"


def described(here: Here, name: str) -> str:
    return masked(here.kubectl("describe", "gj", name), here.name)


def on_labels(vram: int, **more: Any) -> dict[str, Any]:
    tier = {"quality": "standard", "pipeline": "large", "vramGigabytes": vram, "warm": COLD, **more}
    return {"allocation": "labels", "tiers": [tier]}


@contextlib.contextmanager
def nodes(fakes: Player, **wanted: Any) -> Iterator[Shape]:
    """Of the test's own, on which nothing else is put."""
    name = f"own-{uuid.uuid4().hex[:6]}"
    taint = {"key": "test", "value": name, "effect": "NoSchedule"}
    shape = Shape(name, labels={"test": name}, taints=(taint,), **{"count": 1, **wanted})
    fakes.add(shape)
    try:
        yield shape
    finally:
        fakes.remove(shape)


def only_on(shape: Shape) -> dict[str, Any]:
    return {"nodeSelector": shape.labels, "tolerations": [{"key": "test", "operator": "Exists"}]}


# ── before it runs ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_image_that_cannot_be_pulled_holds_it_up_until_its_start_deadline(
    operated: Operated, here: Here
) -> None:
    await here.make(runner("diffusion", here.name, end=End.IMAGE_PULL))
    await here.make(job("alley", here.name, startDeadline="4s"))

    held = await here.until("alley", Dispatched="True/PodCreated", Running="False/ImagePullFailed")
    assert held.status.phase is Phase.DISPATCHED
    assert "registry.invalid/runner:1" in message(held, "Running")

    ended = await here.until("alley", Finished="True/StartDeadlineExceeded")
    assert "cannot be pulled" in message(ended, "Finished")
    await here.until_gone("Job", "alley-1")
    assert_golden(DATA / "describe-image-pull.txt", described(here, "alley"))


async def test_a_container_that_cannot_be_made(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.CONFIG_ERROR), job("alley", here.name))
    held = await here.until("alley", Running="False/ContainerNotStarted")
    assert 'secret "missing" not found' in message(held, "Running")


async def test_the_workers_secret_is_made_again_when_a_container_misses_it(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name), job("alley", here.name))
    await here.until("alley", Succeeded="True/OutputsCommitted")
    here.kubectl("delete", "secret", "auteur-worker")
    await here.make(runner("broken", here.name, end=End.CONFIG_ERROR), job("pier", here.name, runner="broken"))
    await here.until("pier", Running="False/ContainerNotStarted")
    here.kubectl("wait", "--for=create", "secret/auteur-worker", "--timeout=90s")


async def test_no_node_has_such_a_card(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, **on_labels(48)), job("alley", here.name))
    held = await here.until("alley", Dispatched="True/PodCreated", Running="False/Unschedulable")
    assert message(held, "Running") == (
        "No node offers 48 GB of GPU memory: the nodes that have GPUs: 5 with 24 GB. "
        "Ask for a lower quality, or add such a node."
    )
    assert_golden(DATA / "describe-unschedulable.txt", described(here, "alley"))


async def test_the_cards_are_taken(operated: Operated, here: Here, fakes: Player) -> None:
    with nodes(fakes, gpus=1) as shape:
        await here.make(runner("diffusion", here.name, end=End.HANG, **on_labels(16), **only_on(shape)))
        await here.make(job("first", here.name))
        await here.until("first", Dispatched="True/PodCreated")
        await here.make(job("second", here.name))
        # The new node may not be ready when the pod is looked at for the first time.
        held = await here.until("second", lambda seen: "Insufficient nvidia.com/gpu" in message(seen, "Running"))
        assert "It starts when others have ended, or a node is added." in message(held, "Running")
        await here.merge("GenerationJob", "first", {"spec": {"cancel": True}})
        await here.until("second", lambda seen: "Unschedulable" not in seen.model_dump_json())


def quota(**hard: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}


async def test_a_quota_refuses_the_pod_until_there_is_room(operated: Operated, here: Here) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "0"}},
    }
    await here.make(quota, runner("diffusion", here.name), job("alley", here.name))
    await _is_counted(here)
    held = await here.until("alley", Running="False/PodRefused")
    assert "exceeded quota: small" in message(held, "Running")
    assert "raise the ResourceQuota" in message(held, "Running")
    assert_golden(DATA / "describe-quota.txt", described(here, "alley"))

    await here.delete("ResourceQuota", "small")
    await here.until("alley", Succeeded="True/OutputsCommitted")


async def _is_counted(here: Here) -> None:
    async def counted() -> bool:
        found = await here.find("ResourceQuota", "small")
        return bool(found and found.get("status", {}).get("hard"))

    await eventually(counted, "the quota to be in force")


async def test_a_limit_range_refuses_the_pod(operated: Operated, here: Here) -> None:
    spec = {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": spec}
    await here.make(limits, runner("diffusion", here.name), job("alley", here.name))
    held = await here.until("alley", Running="False/PodRefused")
    assert "maximum memory usage per Container is 1Gi" in message(held, "Running")
    assert "LimitRange" in message(held, "Running")


async def test_a_quota_for_jobs_refuses_the_attempt(operated: Operated, here: Here) -> None:
    """The Job itself, not only its pod."""
    await here.make(quota(**{"count/jobs.batch": "0"}))
    await _is_counted(here)
    await here.make(runner("diffusion", here.name), job("alley", here.name))
    held = await here.until("alley", Dispatched="False/PodRefused")
    assert "exceeded quota: small" in message(held, "Dispatched")
    assert held.status.attempt == 0
    await here.delete("ResourceQuota", "small")
    await here.until("alley", Succeeded="True/OutputsCommitted")


# ── after it ended ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_out_of_memory(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.OOM), job("alley", here.name, retries=0))
    ended = await here.until("alley", Finished="True/OutOfMemory", Succeeded="False/OutOfMemory")
    assert ended.status.failure is not None
    assert (ended.status.failure.fault, ended.status.failures) == (Fault.FUNCTION, 1)
    assert "resources.memory" in ended.status.failure.remedy
    assert_golden(DATA / "describe-out-of-memory.txt", described(here, "alley"))


@contextlib.asynccontextmanager
async def _kubelet(folder: Path, log: str) -> AsyncIterator[int]:
    """No logs are played: so much of a kubelet as an API server asks for them. Yields its port."""

    async def logs(_: web.Request) -> web.Response:
        return web.Response(text=log)

    pair = Authority.create(folder / "kubelet").issue("kubelet", user="kubelet", hosts=[LOOPBACK])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    app = web.Application()
    app.add_routes([web.get("/containerLogs/{namespace}/{pod}/{container}", logs)])
    served = web.AppRunner(app)
    await served.setup()
    try:
        site = web.TCPSite(served, LOOPBACK, 0, ssl_context=context)
        await site.start()
        yield int(served.addresses[0][1])
    finally:
        await served.cleanup()


async def test_an_exit_code_comes_with_the_last_lines_of_the_log(
    operated: Operated, here: Here, fakes: Player, tmp_path: Path
) -> None:
    lines = "loading model\nTraceback (most recent call last):\nRuntimeError: the model file is truncated\n"
    async with _kubelet(tmp_path, lines) as port:
        with nodes(fakes) as shape:
            status = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
            addresses = [{"type": "InternalIP", "address": LOOPBACK}]
            answer = await here.api.patch(
                f"/api/v1/nodes/{shape.nodes[0]}/status",
                json={"status": {**status, "addresses": addresses}},
                headers={"Content-Type": "application/merge-patch+json"},
            )
            assert answer.is_success, answer.text
            fails = ends(End.FAIL, exit_code=3)
            await here.make(runner("diffusion", here.name, end=End.FAIL, annotations=fails, **only_on(shape)))
            await here.make(job("alley", here.name, retries=0))
            ended = await here.until("alley", Finished="True/PlatformFailed")
    failure = ended.status.failure
    assert failure is not None
    assert failure.log_tail == tuple(lines.splitlines())
    assert "ended with exit code 3: RuntimeError: the model file is truncated" in failure.message
    assert_golden(DATA / "describe-exit-code.txt", described(here, "alley"))


async def test_evicted_over_and_over_is_given_up(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.EVICTED), job("alley", here.name, retries=0))
    ended = await here.until("alley", Finished="True/Evicted")
    assert (ended.status.failures, ended.status.losses, ended.status.attempt) == (0, 6, 6)
    assert "low on resource: memory" in message(ended, "Finished")
    assert_golden(DATA / "describe-evicted.txt", described(here, "alley"))


async def test_evicted_once_succeeds_at_the_second_try(operated: Operated, here: Here) -> None:
    slowly = ends(End.EVICTED, after=1)
    await here.make(runner("diffusion", here.name, end=End.EVICTED, annotations=slowly), job("alley", here.name))
    await here.until("alley", Dispatched="True/PodCreated")
    await here.merge("FunctionRunner", "diffusion", {"spec": {"podAnnotations": ends(End.SUCCEED, message="report")}})
    ended = await here.until("alley", Succeeded="True/OutputsCommitted")
    assert (ended.status.attempt, ended.status.failures, ended.status.losses) == (2, 0, 1)
    assert ended.status.failure is None


async def test_the_kubelets_deadline(operated: Operated, here: Here) -> None:
    """The pod's is far behind the attempt's own; here it is brought forward."""
    await here.make(runner("diffusion", here.name, end=End.HANG), job("alley", here.name, deadline="1s"))
    pod = await here.running_pod("alley")
    assert pod["spec"]["activeDeadlineSeconds"] > 600
    await here.merge("Pod", pod["metadata"]["name"], {"spec": {"activeDeadlineSeconds": 1}})
    ended = await here.until("alley", Finished="True/DeadlineExceeded")
    assert (ended.status.attempt, ended.status.failures) == (1, 1)
    assert "Raise spec.deadline" in message(ended, "Finished")


async def test_a_node_that_is_drained_by_a_taint(operated: Operated, here: Here, fakes: Player) -> None:
    with nodes(fakes, count=1) as shape:
        await here.make(runner("diffusion", here.name, end=End.HANG, nodeSelector=shape.labels, **tolerant()))
        await here.make(job("alley", here.name))
        await here.running_pod("alley")
        here.kubectl("taint", "node", shape.nodes[0], "gone=yes:NoExecute")
        again = await here.until("alley", lambda seen: seen.status.losses == 1)
        assert again.status.failure is not None
        assert (again.status.failure.reason, again.status.failure.fault) == (Reason.NODE_LOST, Fault.LOST)


def tolerant() -> dict[str, Any]:
    return {"tolerations": [{"key": "test", "operator": "Exists", "effect": "NoSchedule"}]}


async def test_preempted_by_one_of_higher_priority(operated: Operated, here: Here, fakes: Player) -> None:
    urgent = f"urgent-{here.name}"
    here.kubectl("create", "priorityclass", urgent, "--value=1000")
    try:
        with nodes(fakes, gpus=1) as shape:
            await here.make(runner("diffusion", here.name, end=End.HANG, **on_labels(16), **only_on(shape)))
            await here.make(job("alley", here.name))
            await here.running_pod("alley")
            await here.make(_greedy(shape, urgent))
            again = await here.until("alley", lambda seen: seen.status.losses == 1)
            assert again.status.failure is not None
            assert (again.status.failure.reason, again.status.failure.fault) == (Reason.PREEMPTED, Fault.LOST)
            held = await here.until("alley", Dispatched="True/PodCreated", Running="False/Unschedulable")
            assert (held.status.attempt, held.status.failures) == (2, 0)
    finally:
        here.kubectl("delete", "priorityclass", urgent)


def _greedy(shape: Shape, priority: str) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.invalid/x:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    spec = {"containers": [container], "priorityClassName": priority, **only_on(shape)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"}, "spec": spec}


# ── refused before any pod ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "reason", "says"),
    [
        ({"params": {"prompt": "x", "stepz": 3}}, Reason.INVALID_PARAMETER, 'did you mean "steps"'),
        ({"params": {"prompt": "x", "steps": 9999}}, Reason.INVALID_PARAMETER, "500"),
        ({"function": "text-to-imag"}, Reason.UNKNOWN_FUNCTION, "Known functions: text-to-image."),
        ({"runner": "fusion"}, Reason.UNKNOWN_RUNNER, "Known runners: diffusion."),
        ({"quality": "ultra"}, Reason.TIER_NOT_OFFERED, "Offered: standard."),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else None,
)
async def test_refused_with_a_way_out(
    operated: Operated, here: Here, asked: dict[str, Any], reason: Reason, says: str
) -> None:
    await here.make(runner("diffusion", here.name), job("alley", here.name, **asked))

    async def refused() -> dict[str, Any] | None:
        found = await here.find("GenerationJob", "alley")
        conditions = {each["type"]: each for each in (found or {}).get("status", {}).get("conditions", ())}
        return conditions if "Finished" in conditions else None

    conditions = await eventually(refused, "the refusal")
    assert {kind: each["reason"] for kind, each in conditions.items()} == {
        "Accepted": reason.value,
        "Finished": reason.value,
        "Succeeded": reason.value,
    }
    assert says in conditions["Finished"]["message"]
    assert await here.list("Job") == []
