"""Warm pools: Deployments that the operator sizes, and real agents that serve their orders.

The pods of a Deployment are played; beside them a test starts agents as processes, under the pods' names.
"""

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auteur_contracts import names, subjects
from auteur_contracts.names import TierPool
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import Tier
from auteur_contracts.vocabulary import Phase, Quality, Reason
from auteur_kit.bus import Bus
from auteur_kit.store import Store
from tests.support.cluster.kwok import End
from tests.support.cluster.operators import COLD, Here, Operated, job, message, runner
from tests.support.servers import variables_of
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
TIER = Tier(quality=Quality.STANDARD, pipeline="echo")
ECHO = {
    "name": "echo",
    "paramsSchema": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "text": {"type": "string"},
            "steps": {"type": "integer"},
            "seconds": {"type": "number"},
            "seed": {"type": "integer"},
            "fail": {"type": "string"},
        },
    },
}
SLOW = {"text": "hi", "steps": 20, "seconds": 6}


@dataclass
class Agent:
    """A worker that a test can kill."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """As a node that fails: neither it nor its function has a last word."""
        os.killpg(self.process.pid, 9)
        self.process.wait()

    def leave(self) -> None:
        self.process.terminate()


StartAgent = Callable[..., Agent]
Ready = Callable[..., Awaitable[None]]


@pytest.fixture
def start_agent(operated: Operated, here: Here, tmp_path: Path) -> Iterator[StartAgent]:
    started: list[Agent] = []

    def start(name: str, **more: str) -> Agent:
        folder = tmp_path / name
        folder.mkdir()
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AUTEUR_")},
            **variables_of(operated.nats),
            "AUTEUR_AGENT__RUNNER": "echo",
            "AUTEUR_AGENT__TARGET": "tests.support.echo:Echo",
            "AUTEUR_AGENT__DIRECTORY": str(ROOT),
            "AUTEUR_AGENT__POOL": str(TierPool(here.name, "echo", "standard")),
            "AUTEUR_AGENT__TIER": TIER.model_dump_json(),
            "AUTEUR_AGENT__WORKER": name,
            "AUTEUR_AGENT__DRAIN": "500ms",
            "TMPDIR": str(folder),
            **more,
        }
        log = folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                (sys.executable, "-m", "auteur_runner", "agent"),
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started.append(Agent(name, process, log))
        return started[-1]

    yield start
    for agent in started:
        if agent.process.poll() is None:
            agent.process.terminate()
    for agent in started:
        try:
            agent.process.wait(15)
        except subprocess.TimeoutExpired:
            agent.kill()


def pool_of(here: Here, least: int = 1, most: int = 2, idle: int = 1, **spec: Any) -> dict[str, Any]:
    """The runner `echo`; overflow pods of its jobs hang."""
    warm = {"min": least, "max": most, "idleSeconds": idle}
    tier = {"quality": "standard", "pipeline": "echo", "warm": warm}
    return runner("echo", here.name, end=End.HANG, functions=[ECHO], **{"tiers": [tier], **spec})


def echo(name: str, here: Here, params: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    made = job(name, here.name, **spec)
    made["spec"] |= {"function": "echo", "params": params or {"text": name}}
    return made


async def replicas(here: Here, wanted: int, name: str = "echo-standard", seconds: float = 15) -> dict[str, Any]:
    async def so_many() -> dict[str, Any] | None:
        found = await here.find("Deployment", name)
        return found if found is not None and found["spec"]["replicas"] == wanted else None

    return await eventually(so_many, f"{name} to have {wanted} workers", seconds=seconds)


async def pods(here: Here, count: int) -> list[str]:
    """Names of the pool's pods, once there are so many and they run."""

    async def running() -> list[str] | None:
        found = [
            each["metadata"]["name"]
            for each in await here.list("Pod", **{names.LABEL_RUNNER: "echo"})
            if names.LABEL_JOB not in each["metadata"]["labels"]
            and each["status"]["phase"] == "Running"
            and "deletionTimestamp" not in each["metadata"]
        ]
        return sorted(found) if len(found) == count else None

    return await eventually(running, f"{count} pods")


@pytest.fixture
async def ready(operated_bus: Bus) -> Ready:
    """Waits until these workers say that they are ready. (The runner's status counts them every ten seconds.)"""
    heard: dict[str, WorkerState] = {}

    async def hear(_subject: str, data: bytes) -> None:
        beat = Heartbeat.model_validate_json(data)
        heard[beat.worker] = beat.state

    await operated_bus.listen(subjects.HEARTBEATS, hear)

    async def wait(*workers: str) -> None:
        def all_are() -> bool:
            return all(heard.get(worker) is WorkerState.READY for worker in workers)

        await eventually(all_are, f"{workers} to be ready")

    return wait


# ── how many there are ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_runner_keeps_its_least_workers(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here))
    made = await replicas(here, 1)
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("FunctionRunner", "echo")
    (name,) = await pods(here, 1)
    (pod,) = await here.list("Pod")
    environment = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert environment["AUTEUR_AGENT__POOL"] == f"{here.name}_echo_standard"
    assert "AUTEUR_AGENT__ORDER" not in environment
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert name.startswith("echo-standard-")


async def test_it_grows_with_demand_at_once_and_shrinks_when_idle(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here))
    await replicas(here, 1)
    await here.make(echo("one", here), echo("two", here))
    await replicas(here, 2)
    for name in ("one", "two"):
        await here.merge("GenerationJob", name, {"spec": {"cancel": True}})
    await replicas(here, 1)


async def test_beyond_its_most_workers_jobs_get_pods_of_their_own(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here, most=1, idle=0))
    await replicas(here, 1)
    await here.make(*(echo(name, here) for name in ("one", "two", "three")))

    async def overflow() -> bool:
        return len(await here.list("Job")) == 2

    await eventually(overflow, "two Jobs")
    assert (await replicas(here, 1))["spec"]["replicas"] == 1


async def test_a_pool_of_none_at_rest_starts_for_a_job(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here, least=0, most=1))
    await here.make(echo("one", here))
    await replicas(here, 1)
    assert await here.list("Job") == []
    await here.merge("GenerationJob", "one", {"spec": {"cancel": True}})
    await replicas(here, 0)


# ── what it is made of ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_image_goes_to_the_workers(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here))
    before = await replicas(here, 1)
    (old,) = await pods(here, 1)
    await here.merge("FunctionRunner", "echo", {"spec": {"image": "registry.invalid/runner:2"}})

    async def is_new() -> bool:
        found = await here.find("Deployment", "echo-standard")
        assert found is not None
        return bool(found["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.invalid/runner:2")

    await eventually(is_new, "the new image")

    async def is_replaced() -> bool:
        return await pods(here, 1) != [old]

    await eventually(is_replaced, "a new pod")
    assert (await replicas(here, 1))["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_tier_that_is_taken_away_loses_its_workers(operated: Operated, here: Here) -> None:
    warm = {"min": 1, "max": 1}
    tiers = [{"quality": quality, "pipeline": "echo", "warm": warm} for quality in ("draft", "standard")]
    await here.make(pool_of(here, tiers=tiers))
    await replicas(here, 1)
    await replicas(here, 1, "echo-draft")
    await here.merge("FunctionRunner", "echo", {"spec": {"tiers": tiers[1:]}})
    await here.until_gone("Deployment", "echo-draft")
    await replicas(here, 1)


async def test_a_runner_that_is_deleted_takes_its_workers_with_it(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here))
    await replicas(here, 1)
    await here.delete("FunctionRunner", "echo")
    await here.until_gone("Deployment", "echo-standard")


async def test_spare_workers_make_room_for_a_job_that_finds_none_and_come_back(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here))
    await replicas(here, 1)
    tier = {"quality": "standard", "pipeline": "large", "warm": COLD, "resources": {"cpu": "1000000"}}
    await here.make(runner("large", here.name, tiers=[tier]), job("alley", here.name, runner="large"))
    await here.until("alley", Running="False/Unschedulable")
    await replicas(here, 0)
    await here.delete("GenerationJob", "alley")
    await replicas(here, 1)


async def test_a_deployment_that_was_deleted_by_hand_comes_back(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here))
    before = await replicas(here, 1)
    await here.delete("Deployment", "echo-standard")

    async def is_another() -> bool:
        found = await here.find("Deployment", "echo-standard")
        return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"]

    await eventually(is_another, "another Deployment")


async def test_looked_at_again_it_stays_as_it_is(operated: Operated, here: Here) -> None:
    """An annotation of the runner's has it looked at; the fields of its Deployment are as they were."""
    await here.make(pool_of(here))
    await pods(here, 1)
    before = await replicas(here, 1)
    await here.merge("FunctionRunner", "echo", {"metadata": {"annotations": {"note": "looked at"}}})
    # What is said after it was: a job of it is planned.
    await here.make(echo("one", here, suspend=True))
    await here.until("one", Dispatched="False/Suspended")
    after = await replicas(here, 1)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    ours = [each["time"] for each in after["metadata"]["managedFields"] if each["manager"] == names.MANAGER]
    assert ours == [each["time"] for each in before["metadata"]["managedFields"] if each["manager"] == names.MANAGER]


async def test_a_runner_that_cannot_serve_says_why(operated: Operated, here: Here) -> None:
    broken = pool_of(here)
    broken["spec"]["functions"] = [{"name": "echo", "paramsSchema": {"type": "nonsense"}}]
    await here.make(broken)

    async def why() -> str:
        found = await here.find("FunctionRunner", "echo")
        return str((found or {}).get("status", {}).get("message", ""))

    said = await eventually(why, "why it is not ready")
    assert said == 'echo: the schema of its parameters must have type "object"'
    assert await here.find("Deployment", "echo-standard") is None


# ── orders ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_warm_worker_runs_a_job_and_shows_how_far_it_is(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    await here.make(pool_of(here))
    (worker,) = await pods(here, 1)
    start_agent(worker)
    await ready(worker)
    await here.make(echo("alley", here, {"text": "hi", "steps": 30, "seconds": 4}))
    runs = await here.until("alley", lambda seen: bool(seen.status.progress), Running="True/Claimed")
    assert (runs.status.worker, runs.status.phase) == (worker, Phase.RUNNING)
    await here.until("alley", lambda seen: bool(seen.status.progress and 0.1 < seen.status.progress.fraction < 1))

    ended = await here.until("alley", Succeeded="True/OutputsCommitted")
    assert await here.list("Job") == []
    (output,) = ended.status.outputs
    store = Store(operated.store)
    try:
        bucket, key = names.parse_s3_uri(output.uri)
        assert bucket == operated.store.bucket
        assert b"hi" in await store.read(key)
    finally:
        store.close()


async def test_a_killed_worker_is_noticed(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    await here.make(pool_of(here))
    (worker,) = await pods(here, 1)
    agent = start_agent(worker)
    await ready(worker)
    await here.make(echo("alley", here, SLOW | {"seconds": 60}))
    await here.until("alley", Running="True/Claimed")
    agent.kill()
    lost = await here.until("alley", lambda seen: seen.status.losses == 1)
    assert lost.status.failure is not None
    assert lost.status.failure.reason is Reason.WORKER_LOST

    start_agent(f"{worker}-again")
    again = await here.until("alley", lambda seen: seen.status.attempt == 2, Running="True/Claimed")
    assert (again.status.worker, again.status.failures) == (f"{worker}-again", 0)


async def test_a_worker_that_has_to_leave_hands_its_job_back(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    await here.make(pool_of(here))
    (worker,) = await pods(here, 1)
    agent = start_agent(worker)
    await ready(worker)
    await here.make(echo("alley", here, SLOW | {"seconds": 60}))
    await here.until("alley", Running="True/Claimed")
    start_agent("another")
    await ready("another")
    agent.leave()
    again = await here.until("alley", lambda seen: seen.status.attempt == 2, Running="True/Claimed")
    assert (again.status.worker, again.status.failures, again.status.losses) == ("another", 0, 0)


async def test_a_cancelled_job_leaves_its_worker_to_the_next(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    await here.make(pool_of(here))
    (worker,) = await pods(here, 1)
    start_agent(worker)
    await ready(worker)
    await here.make(echo("alley", here, SLOW | {"seconds": 60}))
    await here.until("alley", Running="True/Claimed")
    await here.merge("GenerationJob", "alley", {"spec": {"cancel": True}})
    await here.until("alley", Finished="True/Cancelled")
    await here.make(echo("pier", here))
    await here.until("pier", Succeeded="True/OutputsCommitted")
    assert await here.list("Job", **{names.LABEL_JOB: "pier"}) == []


async def test_what_a_warm_worker_failed_is_tried_again(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    await here.make(pool_of(here))
    (worker,) = await pods(here, 1)
    start_agent(worker)
    await ready(worker)
    await here.make(echo("alley", here, {"fail": "function"}, retries=1))
    ended = await here.until("alley", Finished="True/FunctionFailed")
    assert (ended.status.attempt, ended.status.failures) == (2, 2)
    assert "asked to fail" in message(ended, "Finished")


async def test_two_jobs_for_two_workers(operated: Operated, here: Here, start_agent: StartAgent, ready: Ready) -> None:
    await here.make(pool_of(here, least=2))
    workers = await pods(here, 2)
    for worker in workers:
        start_agent(worker)
    await ready(*workers)
    await here.make(echo("one", here, SLOW), echo("two", here, SLOW))
    first = await here.until("one", Running="True/Claimed")
    second = await here.until("two", Running="True/Claimed")
    assert first.status.worker != second.status.worker
    for name in ("one", "two"):
        await here.until(name, Succeeded="True/OutputsCommitted")


async def test_a_job_in_a_pod_of_its_own_does_not_make_the_pool_grow(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    """Its agent beats for the pool too, and is none of its workers."""
    await here.make(pool_of(here, least=0, most=1, idle=0))
    await here.make(echo("warm", here, SLOW | {"seconds": 60}))
    (worker,) = await pods(here, 1)
    start_agent(worker)
    await here.until("warm", Running="True/Claimed")
    await here.make(echo("alone", here, SLOW | {"seconds": 60}))
    pod = await here.running_pod("alone")
    order = next(each["value"] for each in pod["spec"]["containers"][0]["env"] if each["name"].endswith("__ORDER"))
    start_agent(pod["metadata"]["name"], AUTEUR_AGENT__ORDER=order)
    await here.until("alone", Running="True/Claimed")
    await here.merge("GenerationJob", "warm", {"spec": {"cancel": True}})
    await replicas(here, 0)
    found = await here.until("alone", Running="True/Claimed")
    assert found.status.worker == pod["metadata"]["name"]


async def test_who_waits_for_a_warm_worker_is_told_where_it_stands(operated: Operated, here: Here) -> None:
    await here.make(pool_of(here, least=0, most=5, idle=600))
    await here.make(*(echo(f"job-{number}", here) for number in range(3)))
    places: dict[str, int] = {}

    async def all_are_placed() -> bool:
        for number in range(3):
            found = await here.job(f"job-{number}")
            if found is not None and found.status.queue is not None:
                places[found.metadata.name] = found.status.queue.position
        return sorted(places.values()) == [1, 2, 3]

    await eventually(all_are_placed, "all to be told their places")
    await here.merge("GenerationJob", "job-1", {"spec": {"suspend": True}})
    held = await here.until("job-1", Dispatched="False/Suspended")
    assert held.status.queue is None


async def test_an_order_is_taken_back_when_its_runner_goes(
    operated: Operated, here: Here, start_agent: StartAgent, ready: Ready
) -> None:
    """Nobody would ever claim it."""
    await here.make(pool_of(here, least=1, most=1, idle=600))
    (worker,) = await pods(here, 1)
    agent = start_agent(worker)
    await ready(worker)
    agent.kill()
    await here.make(echo("late", here))
    await here.until("late", Dispatched="True/Ordered")
    await here.delete("FunctionRunner", "echo")
    await here.until("late", Dispatched="False/RunnerNotReady")
