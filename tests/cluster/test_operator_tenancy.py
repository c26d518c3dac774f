"""Namespaces beside one another: who may have jobs made by command, how many run at once, whose turn it is."""

import json
import uuid
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from pydantic import BaseModel

from auteur_contracts import catalogue, names, subjects
from auteur_contracts.commands import Cancel, Delete, ListedJobs, ListJobs, Submit
from auteur_contracts.events import Envelope, Rejected
from auteur_contracts.resources import Failure, FunctionRunner, GenerationJob, GenerationJobSpec, ObjectMeta
from auteur_contracts.subjects import Verb
from auteur_contracts.vocabulary import Reason
from auteur_kit.bus import Bus
from auteur_kit.store import Store
from tests.support.cluster.control_plane import Cluster, ControlPlane
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.kwok import End
from tests.support.cluster.operators import Here, Operated, job, message, runner
from tests.support.objects import keys
from tests.support.scripted import Facts
from tests.support.waiting import eventually

OPERATOR = {"max_active_per_namespace": "2"}


@pytest.fixture
async def there(kubectl: Kubectl, api: httpx.AsyncClient) -> AsyncIterator[Here]:
    """Another namespace."""
    name = f"there-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, f"{names.LABEL_ENABLED}=true")
    kubectl.within(name)("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    yield Here(name, kubectl.within(name), api)
    kubectl("delete", "namespace", name, "--wait=false")


async def known_runners(bus: Bus, namespace: str) -> tuple[FunctionRunner, ...]:
    document = await bus.get_document(catalogue.BUCKET, catalogue.key(namespace))
    return catalogue.decode(document).runners if document else ()


@pytest.fixture
async def enabled(operated: Operated, operated_bus: Bus, here: Here) -> Here:
    """Let in, with a runner."""
    await here.make(runner("diffusion", here.name))

    async def is_known() -> bool:
        return [each.metadata.name for each in await known_runners(operated_bus, here.name)] == ["diffusion"]

    await eventually(is_known, "the catalogue of the namespace")
    return here


# ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_namespace_has_so_many_jobs_under_way_and_no_more(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.HANG))
    for name in ("one", "two"):
        await here.make(job(name, here.name))
        await here.until(name, Dispatched="True/PodCreated")
    await here.make(job("three", here.name))
    waits = await here.until("three", Dispatched="False/WaitingForTurn")
    assert message(waits, "Dispatched") == "Its namespace has as many jobs under way as it may: 2."
    await here.make(job("urgent", here.name, priority="high"))
    await here.until("urgent", Dispatched="False/WaitingForTurn")

    await here.merge("GenerationJob", "one", {"spec": {"cancel": True}})
    await here.until("urgent", Dispatched="True/PodCreated")
    await here.delete("GenerationJob", "two")
    await here.until("three", Dispatched="True/PodCreated")


def made_for(control_plane: ControlPlane, namespace: str) -> list[str]:
    """The Jobs that somebody asked the API server to make there, once for each time, whatever it answered."""
    made = (each.get("objectRef", {}) for each in control_plane.audited() if each["verb"] == "create")
    return [each["name"] for each in made if (each.get("resource"), each.get("namespace")) == ("jobs", namespace)]


async def test_who_is_refused_keeps_its_turn(operated: Operated, here: Here, control_plane: Cluster) -> None:
    """Thousands behind a quota do not all ask the API server again and again: those whose turn it is do."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("a cluster that is not ours has no audit log to count in")
    quota = {"hard": {"count/jobs.batch": "1"}}
    await here.make({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": quota})
    await here.make(runner("diffusion", here.name, end=End.HANG))

    async def counted() -> bool:
        found = await here.find("ResourceQuota", "small")
        return bool(found and found.get("status", {}).get("hard"))

    await eventually(counted, "the quota to be in force")
    await here.make(job("one", here.name))
    await here.until("one", Dispatched="True/PodCreated")
    await here.make(job("two", here.name))
    await here.until("two", Dispatched="False/PodRefused")
    waiting = [f"job-{number}" for number in range(10)]
    await here.make(*(job(name, here.name) for name in waiting))
    for name in waiting:
        await here.until(name, Dispatched="False/WaitingForTurn")
    tries = made_for(control_plane, here.name).count("two-1")
    await eventually(lambda: made_for(control_plane, here.name).count("two-1") > tries, "it to be tried again")
    assert set(made_for(control_plane, here.name)) == {"one-1", "two-1"}
    here.kubectl("delete", "resourcequota/small")
    await here.until("two", Dispatched="True/PodCreated")


async def test_one_that_queues_much_does_not_delay_another(operated: Operated, here: Here, there: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.HANG))
    await here.make(*(job(f"job-{number}", here.name) for number in range(20)))
    await here.until("job-19", Dispatched="False/WaitingForTurn")
    await there.make(runner("diffusion", there.name), job("first", there.name))
    await there.until("first", Succeeded="True/OutputsCommitted")


# ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(namespace: str, name: str, request: str = "") -> GenerationJob:
    annotations = {names.ANNOTATION_REQUEST_ID: request or str(uuid.uuid4())}
    spec = GenerationJobSpec(params={"prompt": "a red star"})
    return GenerationJob(metadata=ObjectMeta(name=name, namespace=namespace, annotations=annotations), spec=spec)


async def told(bus: Bus, namespace: str, name: str, verb: Verb, payload: BaseModel) -> None:
    await bus.publish(subjects.JobCommand(namespace, name, verb), payload, msg_id=str(uuid.uuid4()))


def failure_of(said: Envelope) -> Failure:
    assert isinstance(said.data, Rejected)
    assert said.data.status.failure is not None
    return said.data.status.failure


async def rejection(facts: Facts, name: str) -> Envelope:
    def found() -> Envelope | None:
        return next((each for each in facts.seen if each.name == name and isinstance(each.data, Rejected)), None)

    return await eventually(found, f"{name} to be rejected")


async def listed_jobs(bus: Bus, namespace: str, *named: str) -> ListedJobs:
    data = await bus.request(subjects.JobQuery(namespace, "list"), ListJobs(names=named))
    return ListedJobs.model_validate_json(data)


async def test_submitted_run_and_asked_about(enabled: Here, operated_bus: Bus, facts: Facts) -> None:
    one = asked(enabled.name, "alley")
    await told(operated_bus, enabled.name, "alley", Verb.SUBMIT, Submit(job=one))
    made = await enabled.until("alley", Succeeded="True/OutputsCommitted")
    await eventually(lambda: "succeeded" in facts.of("alley"), "the fact")
    # Announced in the order in which it came about.
    said = [fact for fact in facts.of("alley") if fact in ("accepted", "dispatched", "succeeded")]
    assert said == ["accepted", "dispatched", "succeeded"]

    listed = await listed_jobs(operated_bus, enabled.name)
    (got,) = listed.items
    assert (got.job.metadata.uid, got.job.status.phase) == (made.metadata.uid, made.status.phase)
    assert str(got.version) == made.metadata.resource_version
    assert await listed_jobs(operated_bus, enabled.name, "alley", "pier") == listed
    assert await listed_jobs(operated_bus, enabled.name, "pier") == ListedJobs()
    assert got.job.status.holds == (), "no gateway archives this namespace"


async def test_a_namespace_that_was_not_let_in(
    operated: Operated, operated_bus: Bus, outside: Here, facts: Facts
) -> None:
    await told(operated_bus, outside.name, "alley", Verb.SUBMIT, Submit(job=asked(outside.name, "alley")))
    said = await rejection(facts, "alley")
    assert f"kubectl label namespace {outside.name} auteur.studio/enabled=true" in failure_of(said).remedy
    assert await outside.list("GenerationJob") == []


async def test_a_job_waits_until_its_namespace_is_let_in(operated: Operated, outside: Here) -> None:
    """And no worker gets there meanwhile, nor what lets workers into NATS."""
    await outside.make(runner("diffusion", outside.name), job("alley", outside.name))
    await outside.until("alley", Dispatched="False/NamespaceNotEnabled")
    assert "auteur.studio/enabled=true" in outside.kubectl("describe", "gj/alley")
    assert outside.kubectl("get", "jobs,secrets", "-o", "name") == ""
    outside.kubectl("label", "namespace", outside.name, f"{names.LABEL_ENABLED}=true")
    await outside.until("alley", Succeeded="True/OutputsCommitted")


async def let_out(here: Here, bus: Bus, facts: Facts) -> None:
    """And the operator has noticed: it rejects commands."""
    here.kubectl("label", "namespace", here.name, f"{names.LABEL_ENABLED}-")
    attempt = iter(range(1000))

    async def is_rejected() -> bool:
        name = f"job-{next(attempt)}"
        await told(bus, here.name, name, Verb.SUBMIT, Submit(job=asked(here.name, name)))
        return any(isinstance(each.data, Rejected) for each in facts.seen)

    await eventually(is_rejected, "commands to be rejected")


async def test_let_out_again(enabled: Here, operated_bus: Bus, facts: Facts) -> None:
    await let_out(enabled, operated_bus, facts)
    assert "auteur.studio/enabled=true" in failure_of(facts.seen[-1]).remedy


async def test_cancel_and_delete_are_for_namespaces_that_were_let_in(
    operated: Operated, operated_bus: Bus, here: Here, facts: Facts
) -> None:
    """What kubectl made in a namespace of its own is nobody's else to end."""
    await here.make(runner("diffusion", here.name, end=End.HANG), job("alley", here.name))
    await here.until("alley", Dispatched="True/PodCreated")
    await let_out(here, operated_bus, facts)
    for verb, payload in ((Verb.CANCEL, Cancel(by="somebody")), (Verb.DELETE, Delete())):
        await told(operated_bus, here.name, "alley", verb, payload)
    here.kubectl("label", "namespace", here.name, f"{names.LABEL_ENABLED}=true")

    last = asked(here.name, "last")

    async def is_obeyed() -> bool:
        await told(operated_bus, here.name, "last", Verb.SUBMIT, Submit(job=last))
        return await here.job("last") is not None

    await eventually(is_obeyed, "later commands to be obeyed")
    found = await here.until("alley")
    assert not found.spec.cancel


async def test_the_same_request_twice_is_one_job(enabled: Here, operated_bus: Bus, facts: Facts) -> None:
    one = asked(enabled.name, "alley", request="request-1")
    await told(operated_bus, enabled.name, "alley", Verb.SUBMIT, Submit(job=one))
    made = await enabled.until("alley", Succeeded="True/OutputsCommitted")
    await told(operated_bus, enabled.name, "alley", Verb.SUBMIT, Submit(job=one))
    await told(operated_bus, enabled.name, "alley", Verb.SUBMIT, Submit(job=asked(enabled.name, "alley", "request-2")))
    said = await rejection(facts, "alley")
    assert failure_of(said).reason is Reason.NAME_TAKEN
    assert said.uid != made.metadata.uid
    found = await enabled.until("alley")
    assert found.metadata.uid == made.metadata.uid
    assert sum(isinstance(each.data, Rejected) for each in facts.seen if each.name == "alley") == 1


async def test_cancelled_by_command_says_by_whom(enabled: Here, operated_bus: Bus) -> None:
    await enabled.make(runner("slow", enabled.name, end=End.HANG), job("alley", enabled.name, runner="slow"))
    await enabled.until("alley", Dispatched="True/PodCreated")
    await told(operated_bus, enabled.name, "alley", Verb.CANCEL, Cancel(by="ada"))
    ended = await enabled.until("alley", Finished="True/Cancelled")
    assert message(ended, "Finished") == "Cancelled by ada."


async def test_deleted_by_command_with_its_files(operated: Operated, enabled: Here, operated_bus: Bus) -> None:
    await enabled.make(job("alley", enabled.name))
    made = await enabled.until("alley", Succeeded="True/OutputsCommitted")
    await told(operated_bus, enabled.name, "alley", Verb.DELETE, Delete(uid=made.metadata.uid, project="default"))
    await enabled.until_gone("GenerationJob", "alley")
    store = Store(operated.store)
    try:
        assert await keys(store, names.job_prefix(enabled.name, "default", made.metadata.uid)) == []
    finally:
        store.close()


async def test_what_the_api_server_refuses_is_rejected(enabled: Here, operated_bus: Bus, facts: Facts) -> None:
    """The API server heeds a quota a moment after it was made, whether what is there was counted or not."""
    hard = {"count/generationjobs.auteur.studio": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}
    await enabled.make(quota)

    def heeded() -> bool:
        probe = json.dumps(job("probe", enabled.name))
        return "quota: small" in enabled.kubectl.run("create", "--dry-run=server", "-f", "-", stdin=probe).stderr

    await eventually(heeded, "the quota to be heeded")
    await told(operated_bus, enabled.name, "alley", Verb.SUBMIT, Submit(job=asked(enabled.name, "alley")))
    assert "quota: small" in failure_of(await rejection(facts, "alley")).message


# ── the catalogue ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_catalogue_follows_the_runners(operated: Operated, enabled: Here, operated_bus: Bus) -> None:
    def says(check: Callable[[list[str]], bool]) -> Callable[[], object]:
        async def so() -> bool:
            return check([each.metadata.name for each in await known_runners(operated_bus, enabled.name)])

        return so

    home = Here(operated.home, enabled.kubectl.within(operated.home), enabled.api)
    await home.make(runner("shared", operated.home), runner("diffusion", operated.home))
    try:
        await eventually(says(lambda found: found == ["diffusion", "shared"]), "the operator's own runners")
        own = (await known_runners(operated_bus, enabled.name))[0]
        assert own.metadata.namespace == enabled.name
        await enabled.make(job("alley", enabled.name, runner="shared"))
        await enabled.until("alley", Succeeded="True/OutputsCommitted")
    finally:
        for name in ("shared", "diffusion"):
            await home.delete("FunctionRunner", name)
    await eventually(says(lambda found: found == ["diffusion"]), "the rest")
