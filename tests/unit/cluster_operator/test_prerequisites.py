"""What attempts need around them is made once in a namespace, and again when it is gone."""

import base64

import pytest
from pydantic import SecretStr

from auteur_contracts.resources import TierDeclaration
from auteur_control.errors import Forbidden, Gone
from auteur_operator import desired
from auteur_operator.cluster import path_of
from auteur_operator.egress import EgressRule
from auteur_operator.object_cache import ObjectCache
from auteur_operator.prerequisites import Prerequisites
from auteur_operator.settings import OperatorSettings
from tests.support.memory_cluster import MemoryCluster
from tests.unit.cluster_operator.making import node, plan_of, runner, waiting

POLICY = path_of("networking.k8s.io/v1", "networkpolicies", "film", desired.WORKER_POLICY)
SECRET = path_of("v1", "secrets", "film", desired.WORKER_SECRET)
TEMPLATES = path_of("resource.k8s.io/v1", "resourceclaimtemplates", "film")
CLASSES = path_of("resource.k8s.io/v1", "deviceclasses")
NATS = EgressRule.model_validate({"to": [{"podSelector": {"matchLabels": {"app": "nats"}}}], "ports": [{"port": 4222}]})
GPU = TierDeclaration(quality="standard", pipeline="large", vram_gigabytes=24)
BIG = runner(tiers=[GPU.model_dump(mode="json", by_alias=True)])


@pytest.fixture
def cluster() -> MemoryCluster:
    made = MemoryCluster()
    made.put_namespace("film")
    return made


@pytest.fixture
def prerequisites(cluster: MemoryCluster) -> Prerequisites:
    settings = OperatorSettings(worker_nats_user="worker", worker_nats_password=SecretStr("secret"))
    return Prerequisites(cluster, ObjectCache(home="studio"), settings, desired.Surroundings("nats://nats:4222"))


async def test_the_secret_is_made_once_until_it_is_missed(cluster: MemoryCluster, prerequisites: Prerequisites) -> None:
    plan = plan_of(waiting())
    await prerequisites.prepare("film", runner(), plan)
    await prerequisites.prepare("film", runner(), plan)
    assert [verb for verb, path in cluster.calls if path == SECRET] == ["apply"]
    data = (await cluster.get(SECRET))["data"]
    assert {key: base64.b64decode(value) for key, value in data.items()} == {"user": b"worker", "password": b"secret"}
    await cluster.delete(SECRET)
    prerequisites.forget("film")
    await prerequisites.prepare("film", runner(), plan)
    assert (await cluster.get(SECRET))["data"] == data


async def prepared(cluster: MemoryCluster, egress: tuple[EgressRule, ...] | None) -> Prerequisites:
    settings = OperatorSettings(worker_egress=egress)
    made = Prerequisites(cluster, ObjectCache(home="studio"), settings, desired.Surroundings("nats://nats:4222"))
    await made.prepare("film", runner(), plan_of(waiting()))
    return made


async def test_workers_reach_what_they_are_told_before_there_is_one(cluster: MemoryCluster) -> None:
    made = await prepared(cluster, (NATS,))
    assert (await cluster.get(POLICY))["spec"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "auteur-operator"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": {"app": "nats"}}}], "ports": [{"protocol": "TCP", "port": 4222}]}
        ],
    }
    await made.prepare_workers("film")
    assert [path for verb, path in cluster.calls if verb == "apply" and path in (POLICY, SECRET)] == [POLICY, SECRET]


async def test_a_policy_that_somebody_deleted_comes_back(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await prepared(cluster, (NATS,))
    await cluster.delete(POLICY)
    monkeypatch.setattr("auteur_operator.prerequisites._POLICY_FRESH", 0.0)
    await made.prepare_workers("film")
    assert await cluster.find(POLICY) is not None


async def test_a_policy_goes_where_there_shall_be_none(cluster: MemoryCluster) -> None:
    await prepared(cluster, (NATS,))
    made = await prepared(cluster, None)
    await made.prepare_workers("film")
    assert await cluster.find(POLICY) is None
    assert cluster.calls.count(("delete", POLICY)) == 1


async def test_a_policy_that_cannot_be_removed_holds_nobody_up(cluster: MemoryCluster) -> None:
    cluster.refuse("delete", "networkpolicies", 403, "forbidden")
    await prepared(cluster, None)
    assert await cluster.find(SECRET) is not None


async def test_no_worker_gets_in_where_its_policy_is_refused(cluster: MemoryCluster) -> None:
    cluster.refuse("apply", "networkpolicies", 403, "forbidden")
    with pytest.raises(Forbidden):
        await prepared(cluster, (NATS,))
    assert await cluster.find(SECRET) is None


async def test_what_was_refused_is_made_the_next_time(cluster: MemoryCluster, prerequisites: Prerequisites) -> None:
    cluster.refuse("apply", "secrets", 403, "exceeded quota")
    with pytest.raises(Forbidden):
        await prerequisites.prepare("film", runner(), plan_of(waiting()))
    await prerequisites.prepare("film", runner(), plan_of(waiting()))
    assert await cluster.find(SECRET) is not None


async def test_nothing_is_made_in_a_namespace_that_is_not_there(prerequisites: Prerequisites) -> None:
    with pytest.raises(Gone):
        await prerequisites.prepare("nowhere", runner(), plan_of(waiting()))


async def test_gpus_are_claimed_where_the_cluster_allocates_them(
    cluster: MemoryCluster, prerequisites: Prerequisites
) -> None:
    await cluster.make(CLASSES, {"metadata": {"name": desired.DEVICE_CLASS}})
    await prerequisites.prepare("film", BIG, plan_of(waiting(by=BIG)))
    ((made, *more), _) = await cluster.list(TEMPLATES)
    assert (made["metadata"]["name"], more) == (desired.claim_template("film", 24)["metadata"]["name"], [])
    prerequisites.forget("film")
    await prerequisites.prepare("film", BIG, plan_of(waiting(by=BIG)))
    assert [each["metadata"]["uid"] for each in (await cluster.list(TEMPLATES))[0]] == [made["metadata"]["uid"]]


async def test_no_gpu_is_claimed_where_labels_say_which_there_are(
    cluster: MemoryCluster, prerequisites: Prerequisites
) -> None:
    await prerequisites.prepare("film", BIG, plan_of(waiting(by=BIG)))
    assert (await cluster.list(TEMPLATES))[0] == []
    assert not prerequisites.surroundings.has_device_class


async def test_device_classes_that_cannot_be_read_are_looked_for_again(
    cluster: MemoryCluster, prerequisites: Prerequisites
) -> None:
    await cluster.make(CLASSES, {"metadata": {"name": desired.DEVICE_CLASS}})
    cluster.refuse("get", "deviceclasses", 503)
    await prerequisites.look_for_devices()
    assert not prerequisites.surroundings.has_device_class
    await prerequisites.look_for_devices()
    assert prerequisites.surroundings.has_device_class


async def test_nodes_are_listed_once_for_all_who_ask_in_a_row(
    cluster: MemoryCluster, prerequisites: Prerequisites
) -> None:
    cluster.kubelet.node("a", gpus=2, gpu_memory_mib=24_576)
    cluster.kubelet.node("b")
    assert await prerequisites.nodes() == (node("a", gigabytes=24, gpus=2), node("b"))
    assert await prerequisites.nodes() == prerequisites.known_nodes
    assert cluster.calls.count(("list", path_of("v1", "nodes"))) == 1
