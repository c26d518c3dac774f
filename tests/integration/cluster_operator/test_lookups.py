"""What became of an attempt, looked up where it is: on a cluster in memory, and in a real object store."""

from pathlib import Path

import pytest

from auteur_contracts import names
from auteur_contracts.orders import Outcome, RefusalReason
from auteur_contracts.resources import Failure, GenerationJob
from auteur_contracts.vocabulary import Fault, Reason
from auteur_kit.store import Store
from auteur_operator import desired
from auteur_operator.attempt_outcome import AttemptOutcome, Failed, Findings, InProgress, Lookup, Reported, outcome_of
from auteur_operator.cluster import path_of
from auteur_operator.lookups import Lookups
from auteur_operator.object_cache import ObjectCache
from auteur_operator.prerequisites import Prerequisites
from auteur_operator.settings import OperatorSettings
from tests.support.memory_cluster import MemoryCluster
from tests.support.memory_objects import Json
from tests.support.objects import put
from tests.unit.cluster_operator.making import dispatched, plan_of, raw_runner, report, runner, word

JOBS, PODS = path_of("batch/v1", "jobs", "film"), path_of("v1", "pods", "film")
SURROUNDINGS = desired.Surroundings(nats_url="nats://nats:4222")


class Attempt:
    """The first of a job that has a pod of its own, as it was made."""

    def __init__(self, store: Store) -> None:
        self.cluster = MemoryCluster()
        self.cluster.put_namespace("film")
        self.kubelet = self.cluster.kubelet
        self.job: GenerationJob = dispatched()
        self.world = ObjectCache(home="studio")
        self.world.take_runner(raw_runner())
        prerequisites = Prerequisites(self.cluster, self.world, OperatorSettings(), SURROUNDINGS)
        self.lookups = Lookups(self.cluster, store, self.world, prerequisites)
        self.store = store
        self.made: Json = {}

    async def make(self, *, queue: str = "") -> "Attempt":
        self.job = dispatched(queue=queue or None)
        manifest = desired.attempt_job(self.job, plan_of(self.job), 1, runner(), SURROUNDINGS)
        self.made = await self.cluster.create(JOBS, manifest)
        return self

    @property
    def pod(self) -> Json:
        (pod,) = self.kubelet.pods(self.made)
        return pod

    async def leave_result(self, folder: Path, text: bytes) -> None:
        prefix = names.AttemptPrefix("film", self.job.spec.project, self.job.metadata.uid, 1)
        (folder / names.RESULT_NAME).write_bytes(text)
        await put(self.store, f"{prefix}{names.RESULT_NAME}", folder / names.RESULT_NAME, "application/json")

    async def outcome(self) -> AttemptOutcome:
        """As the reconciler finds it when it knows nothing."""
        findings = Findings()
        while isinstance(outcome := outcome_of(self.job, findings, None), Lookup):
            findings = await self.lookups.look_up(outcome, self.job, findings)
        return outcome


@pytest.fixture
async def attempt(store: Store) -> Attempt:
    return await Attempt(store).make()


def reason_of(outcome: AttemptOutcome) -> tuple[Fault, Reason]:
    assert isinstance(outcome, Failed)
    return outcome.failure.fault, outcome.failure.reason


async def test_a_pod_that_starts_is_waited_for(attempt: Attempt) -> None:
    outcome = await attempt.outcome()
    assert isinstance(outcome, InProgress)
    assert outcome.held_up is not None
    assert outcome.held_up.reason is Reason.POD_STARTING
    assert [pod.name for pod in attempt.world.pods_of_job("film", attempt.job.metadata.uid)] == [
        attempt.pod["metadata"]["name"]
    ]


async def test_the_last_word_of_the_pod_is_the_report(attempt: Attempt) -> None:
    pod = attempt.kubelet.run(attempt.pod)
    attempt.kubelet.finish(pod, word(outcome=Outcome.SUCCEEDED))
    assert await attempt.outcome() == Reported(report(), pod["metadata"]["name"])


async def test_of_an_attempt_that_left_no_word_the_result_is_read(attempt: Attempt, tmp_path: Path) -> None:
    """Its pod and its Job are gone: what lies beside the outputs says how it ended."""
    said = report(worker="w-9")
    await attempt.leave_result(tmp_path, said.model_dump_json(exclude={"token"}).encode())
    await attempt.cluster.delete(f"{JOBS}/alley-1")
    assert await attempt.outcome() == Reported(said, "w-9")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"uid": 1}', b"\xff"])
async def test_a_result_that_cannot_be_read_is_none(text: bytes, attempt: Attempt, tmp_path: Path) -> None:
    await attempt.leave_result(tmp_path, text)
    await attempt.cluster.delete(f"{JOBS}/alley-1")
    assert reason_of(await attempt.outcome()) == (Fault.LOST, Reason.WORKER_LOST)


async def test_a_pod_that_broke_is_told_of_by_the_end_of_its_log(attempt: Attempt) -> None:
    pod = attempt.kubelet.run(attempt.pod)
    lines = [f"line {number}" for number in range(30)]
    attempt.kubelet.finish(pod, exit_code=3, log="\n".join(lines))
    outcome = await attempt.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure == Failure(
        fault=Fault.PLATFORM,
        reason=Reason.PLATFORM_FAILED,
        message=f"Pod {pod['metadata']['name']} ended with exit code 3: line 29.",
        remedy="Its last lines are in logTail.",
        log_tail=tuple(lines[-20:]),
    )


async def test_without_its_log_it_is_told_of_all_the_same(attempt: Attempt) -> None:
    """Its node is away, and the API server cannot reach it."""
    attempt.kubelet.finish(attempt.kubelet.run(attempt.pod), exit_code=3)
    attempt.cluster.refuse("get", "pods/log", 502, "no route to host")
    outcome = await attempt.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure.log_tail == ()


async def test_a_quota_that_keeps_the_pod_out_is_named(store: Store) -> None:
    attempt = Attempt(store)
    quota = {"metadata": {"name": "team-a"}, "spec": {"hard": {"pods": "0"}}}
    await attempt.cluster.make(path_of("v1", "resourcequotas", "film"), quota)
    await attempt.make()
    outcome = await attempt.outcome()
    assert isinstance(outcome, InProgress)
    assert outcome.held_up is not None
    assert outcome.held_up.reason is Reason.POD_REFUSED
    assert "exceeded quota: team-a" in outcome.held_up.message
    assert outcome.recheck, "no event tells when there is room"
    await attempt.cluster.delete(path_of("v1", "resourcequotas", "film", "team-a"))
    assert attempt.pod["status"]["phase"] == "Pending"


async def test_a_job_that_kueue_suspends_waits_for_its_quota(store: Store) -> None:
    attempt = await Attempt(store).make(queue="team-a")
    outcome = await attempt.outcome()
    assert isinstance(outcome, InProgress)
    assert outcome.held_up is not None
    assert outcome.held_up.reason is Reason.WAITING_FOR_QUOTA
    await attempt.cluster.merge(f"{JOBS}/alley-1", {"spec": {"suspend": False}})
    assert await attempt.outcome() != outcome


async def test_a_pod_on_a_node_that_died_is_not_waited_for(attempt: Attempt) -> None:
    """It is marked as deleted, and no kubelet ever lets go of it."""
    pod = attempt.kubelet.run(attempt.pod)
    await attempt.cluster.delete(f"{PODS}/{pod['metadata']['name']}")
    assert reason_of(await attempt.outcome()) == (Fault.LOST, Reason.WORKER_LOST)


async def test_an_attempt_of_which_nothing_is_left_is_lost(attempt: Attempt) -> None:
    await attempt.cluster.delete(f"{JOBS}/alley-1")
    outcome = await attempt.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "The attempt's Job is gone, and left no result."


async def test_while_another_pod_has_the_attempt_it_goes_on(attempt: Attempt) -> None:
    pod = attempt.kubelet.run(attempt.pod)
    refused = word(refused=RefusalReason.CLAIMED)
    attempt.kubelet.finish(pod, refused, exit_code=75)
    assert await attempt.outcome() == InProgress(recheck=True)
