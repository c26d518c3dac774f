"""The control plane of a cluster: over custom resources, by the operator's own replica; the cluster is in memory."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from auteur_contracts import names
from auteur_contracts.orders import ClaimRefused, Grant, Order, Outcome, RefusalReason, TerminationMessage
from auteur_contracts.resources import FunctionRunner, GenerationJob, Plan, Warm
from auteur_contracts.vocabulary import ConditionType, Fault, Phase, Reason
from auteur_control.errors import Unreachable
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from auteur_operator import desired
from auteur_operator.cluster import path_of
from auteur_operator.desired import Surroundings
from auteur_operator.resources import job_path
from tests.support import custom_resources
from tests.support.control_suite import ControlPlaneSuite, has_phase
from tests.support.memory_objects import Json
from tests.support.scripted import ECHO, Facts, ScriptedWorker, echo_job, find, submit
from tests.support.shells import OnACluster, Shell
from tests.support.versions_suite import newer_field, newer_quality, newer_words, phase_of
from tests.support.waiting import eventually


class TestOnACluster(ControlPlaneSuite):
    @pytest.fixture
    def shell(self, nats_settings: NatsSettings, store: Store, store_settings: StoreSettings) -> Shell:
        made = OnACluster(nats_settings, store, store_settings)
        made.offer(ECHO)
        return made

    async def test_an_end_that_the_api_server_refuses_to_keep_is_a_failed_attempt(
        self, bus: Bus, shell: OnACluster, control: None, worker: ScriptedWorker
    ) -> None:
        await submit(bus, echo_job("refused", retries=0))
        order = await worker.order()
        grant = await worker.claim(order)
        assert isinstance(grant, Grant)
        shell.cluster.refuse("update", "generationjobs/status", 422, "status.outputs[0].name: Duplicate value")
        await worker.report(order, grant.token)
        await has_phase(bus, "refused", Phase.FAILED)
        found = await find(bus, "refused")
        assert found is not None
        assert found.job.status.failure is not None
        assert "Duplicate value" in found.job.status.failure.message

    async def test_whatever_a_plan_says_no_link_leads_out_of_the_namespace(
        self, bus: Bus, shell: OnACluster, control: None, worker: ScriptedWorker, store: Store
    ) -> None:
        await submit(bus, echo_job("curious"))
        order = await worker.order()
        stored = await shell.stored("curious")
        secret = names.s3_uri(store.bucket, "rivals/film/jobs/u1/1/secret.png")
        stored["status"]["plan"]["inputs"] = [{"name": "image", "uri": secret}]
        await shell.cluster.replace(f"{_path_of('curious')}/status", stored)

        async def answer() -> ClaimRefused | None:
            said = await worker.claim(order)
            return said if isinstance(said, ClaimRefused) else None

        refused = await eventually(answer, "the claim to be refused")
        assert refused.reason is RefusalReason.STALE
        await has_phase(bus, "curious", Phase.FAILED)
        snapshot = await find(bus, "curious")
        assert snapshot is not None
        failure = snapshot.job.status.failure
        assert failure is not None
        assert (failure.fault, failure.reason) == (Fault.USER, Reason.INPUT_FAILED)

    async def test_a_phase_that_an_admin_wrote_is_put_right_and_nothing_else_is_changed(
        self, bus: Bus, shell: OnACluster, control: None, worker: ScriptedWorker, facts: Facts
    ) -> None:
        await submit(bus, echo_job("over"))
        await worker.run_one()
        await eventually(lambda: phase_of(shell, "over", Phase.SUCCEEDED), "its end")
        await submit(bus, echo_job("open"))
        await worker.claim(await worker.order())
        await eventually(lambda: phase_of(shell, "open", Phase.RUNNING), "the other one to run")
        before = {name: await shell.stored(name) for name in ("over", "open")}
        for name in before:
            await shell.cluster.merge(job_path(("default", name), "status"), {"status": {"phase": "Failed"}})
        await eventually(lambda: phase_of(shell, "over", Phase.SUCCEEDED), "the finished one's phase")
        await eventually(lambda: phase_of(shell, "open", Phase.RUNNING), "the running one's phase")
        for name, was in before.items():
            assert (await shell.stored(name))["status"] == was["status"]
        assert facts.of("over").count("succeeded") == 1


# ── pods of one attempt, where no workers are kept warm ───────────────────────────────────────────────────────────────


@pytest.fixture
def cold(nats_settings: NatsSettings, store: Store, store_settings: StoreSettings) -> OnACluster:
    made = OnACluster(nats_settings, store, store_settings)
    made.offer_with(ECHO, Warm(min=0, max=0))
    return made


def order_of(pod: Json) -> Order:
    env = {each["name"]: each.get("value", "") for each in pod["spec"]["containers"][0]["env"]}
    return Order.model_validate_json(env["AUTEUR_AGENT__ORDER"])


def last_word(pod: Json, outcome: Outcome) -> str:
    order, now = order_of(pod), datetime.now(UTC)
    word = TerminationMessage(
        namespace=order.namespace,
        name=order.name,
        uid=order.uid,
        attempt=order.attempt,
        worker=pod["metadata"]["name"],
        outcome=outcome,
        started_at=now,
        finished_at=now,
    )
    return word.model_dump_json(exclude_none=True)


async def pod_of_attempt(shell: OnACluster, attempt: int) -> Json:
    def found() -> Json | None:
        return next((pod for pod in shell.pods() if order_of(pod).attempt == attempt), None)

    return await eventually(found, f"the pod of attempt {attempt}")


async def test_what_a_pod_leaves_its_kubelet_ends_a_job_whose_claim_nobody_saw(bus: Bus, cold: OnACluster) -> None:
    async with cold.running():
        await submit(bus, echo_job("alone"))
        pod = cold.cluster.kubelet.run(await pod_of_attempt(cold, 1))
        cold.cluster.kubelet.finish(pod, last_word(pod, Outcome.SUCCEEDED))
        await has_phase(bus, "alone", Phase.SUCCEEDED)
    found = await cold.stored("alone")
    assert (found["status"]["attempt"], found["status"]["worker"]) == (1, pod["metadata"]["name"])


async def test_a_pod_that_vanishes_is_a_loss_and_the_next_attempt_has_another_job(bus: Bus, cold: OnACluster) -> None:
    async with cold.running():
        await submit(bus, echo_job("unlucky"))
        first = cold.cluster.kubelet.run(await pod_of_attempt(cold, 1))
        cold.cluster.kubelet.evict(first, message="The node was low on memory.")
        second = cold.cluster.kubelet.run(await pod_of_attempt(cold, 2))
        assert second["metadata"]["ownerReferences"][0]["name"] == "unlucky-2"
        cold.cluster.kubelet.finish(second, last_word(second, Outcome.SUCCEEDED))
        await has_phase(bus, "unlucky", Phase.SUCCEEDED)
        snapshot = await find(bus, "unlucky")
        assert snapshot is not None
        assert (snapshot.job.status.losses, snapshot.job.status.failures) == (1, 0)


async def test_a_job_whose_pod_is_refused_says_why_and_keeps_trying(bus: Bus, cold: OnACluster) -> None:
    for _ in range(2):  # the watch may show the refusal's own status before its write is answered: then it is looked at
        cold.cluster.refuse("create", "jobs", 403, "exceeded quota: team, requested: pods=1")
    async with cold.running():
        await submit(bus, echo_job("refused"))

        async def why() -> str | None:
            snapshot = await find(bus, "refused")
            held = snapshot.job.status.condition(ConditionType.DISPATCHED) if snapshot else None
            return held.message if held is not None and held.reason is Reason.POD_REFUSED else None

        assert "exceeded quota: team" in await eventually(why, "the refusal to be told")
        await pod_of_attempt(cold, 1)  # the quota has room by now


async def test_a_leader_that_comes_after_a_crash_adopts_the_job_that_was_made(
    bus: Bus, cold: OnACluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job is made before the status that tells of it."""
    with monkeypatch.context() as dying:
        dying.setattr(cold.cluster, "replace", _away)
        async with cold.running():
            await submit(bus, echo_job("orphan"))
            pod = await pod_of_attempt(cold, 1)
    async with cold.running():
        cold.cluster.kubelet.finish(cold.cluster.kubelet.run(pod), last_word(pod, Outcome.SUCCEEDED))
        await has_phase(bus, "orphan", Phase.SUCCEEDED)
    assert len(cold.pods()) == 1, "one attempt is one execution"


@pytest.mark.parametrize(
    ("namespace", "owned"), [("rivals", False), ("rivals", True), (names.DEFAULT_NAMESPACE, False)]
)
async def test_a_pod_that_only_says_it_is_the_attempts_ends_nobodys_job(
    bus: Bus, cold: OnACluster, namespace: str, *, owned: bool
) -> None:
    """Labels and a last word are written by whoever makes a pod; in another namespace owners are, too."""
    cold.cluster.put_namespace("rivals", **{names.LABEL_ENABLED: "true"})
    async with cold.running():
        await submit(bus, echo_job("target"))
        pod = cold.cluster.kubelet.run(await pod_of_attempt(cold, 1))
        made_at = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        await eventually(lambda: datetime.now(UTC) > made_at + timedelta(seconds=1), "a newer pod to be possible")
        meta = {"labels": pod["metadata"]["labels"], "name": "forged", "namespace": namespace}
        if owned:
            meta["ownerReferences"] = pod["metadata"]["ownerReferences"]
        forged = {"metadata": meta, "spec": pod["spec"], "status": {"phase": "Pending"}}
        made = await cold.cluster.create(path_of("v1", "pods", namespace), forged)
        cold.cluster.kubelet.finish(made, last_word(pod, Outcome.FAILED), exit_code=1)
        await submit(bus, echo_job("later"))  # by whose pod the operator has seen the forged one
        await eventually(lambda: any(order_of(each).name == "later" for each in cold.pods()), "the next job's pod")
        cold.cluster.kubelet.finish(pod, last_word(pod, Outcome.SUCCEEDED))
        await has_phase(bus, "target", Phase.SUCCEEDED)
    status = (await cold.stored("target"))["status"]
    assert (status["worker"], status["attempt"]) == (pod["metadata"]["name"], 1)


@pytest.mark.parametrize("owned", [True, False])
async def test_a_job_that_was_prepared_with_another_plan_is_not_adopted(
    bus: Bus, cold: OnACluster, *, owned: bool
) -> None:
    """Whoever may make Jobs writes their owner and their plan; the plan that counts is what job and runner give."""
    async with cold.running():
        await submit(bus, echo_job("prepared", suspend=True))
        await has_phase(bus, "prepared", Phase.SUSPENDED)
        stored = GenerationJob.model_validate(await cold.stored("prepared"))
        plan = stored.status.plan
        assert plan is not None
        around = Surroundings(nats_url="nats://nats:4222")
        foreign = plan.model_copy(update={"params": {"text": "somebody else's"}})
        runner = FunctionRunner.model_validate(await cold.cluster.get(_path_of("echo", "functionrunners")))
        manifest = desired.attempt_job(stored, foreign, 1, runner, around)
        if not owned:
            del manifest["metadata"]["ownerReferences"]
        jobs = path_of("batch/v1", "jobs", names.DEFAULT_NAMESPACE)
        prepared = await cold.cluster.create(jobs, manifest)
        await cold.cluster.merge(_path_of("prepared"), {"spec": {"suspend": False}})

        async def own_plan() -> str | None:
            found = await cold.cluster.find(f"{jobs}/prepared-1")
            other = found is not None and found["metadata"]["uid"] != prepared["metadata"]["uid"]
            return found["metadata"]["annotations"][names.ANNOTATION_PLAN] if found is not None and other else None

        assert Plan.model_validate_json(await eventually(own_plan, "the attempt's own Job")) == plan


@pytest.mark.parametrize("change", [newer_words, newer_field, newer_quality])
async def test_the_pod_of_a_job_that_another_version_wrote_is_left_alone(
    bus: Bus, cold: OnACluster, change: Callable[[Json], None]
) -> None:
    async with cold.running():
        await submit(bus, echo_job("foreign"))
        pod = cold.cluster.kubelet.run(await pod_of_attempt(cold, 1))
        await eventually(lambda: phase_of(cold, "foreign", Phase.DISPATCHED), "it to be dispatched")
    await cold.rewrite("foreign", change)
    with custom_resources.newer():
        async with cold.running():
            await submit(bus, echo_job("next"))
            await eventually(lambda: len(cold.pods()) == 2, "the next one's pod")
            removed = [path for verb, path in cold.cluster.calls if verb == "delete"]
            assert not any("/jobs/" in path or "/pods/" in path for path in removed)
            if change is not newer_quality:  # what became of its attempt is told by who can read it
                cold.cluster.kubelet.finish(pod, last_word(pod, Outcome.SUCCEEDED))
                await eventually(lambda: phase_of(cold, "foreign", Phase.SUCCEEDED), "its end")


async def _away(*_: object) -> str:
    raise Unreachable("update", "as if the leader died before it")


def _path_of(name: str, plural: str = "generationjobs") -> str:
    return path_of(names.API_VERSION, plural, names.DEFAULT_NAMESPACE, name)
