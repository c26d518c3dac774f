"""Manifests, compared whole with goldens that people have read; and what holds of every one of them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts import names
from auteur_contracts.orders import Order
from auteur_contracts.resources import FunctionRunner, Plan, Tier
from auteur_operator import desired
from auteur_operator.desired import Manifest, Surroundings
from auteur_operator.egress import EgressRule
from auteur_operator.observed import batch_job_of, pod_of
from tests.support.golden import assert_golden
from tests.unit.cluster_operator.making import plan_of, runner, waiting

DATA = Path(__file__).parents[2] / "data" / "operator"
AROUND = Surroundings(nats_url="nats://auteur-nats.studio:4222")
BY_DRA = Surroundings(nats_url="nats://auteur-nats.studio:4222", has_device_class=True)
NATS = EgressRule.model_validate(
    {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "studio"}}}],
        "ports": [{"port": 4222}],
    }
)
ANYWHERE = EgressRule.model_validate({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 80}]})
CARD = [{"quality": "standard", "pipeline": "flux", "vramGigabytes": 24, "resources": {"cpu": "4", "memory": "24Gi"}}]


def attempt(wanted: FunctionRunner, around: Surroundings = AROUND, *, number: int = 1, **spec: Any) -> Manifest:
    made = waiting(by=wanted, **spec)
    return desired.attempt_job(made, plan_of(made), number, wanted, around)


def pool(wanted: FunctionRunner, around: Surroundings = AROUND, replicas: int = 2) -> Manifest:
    tier = wanted.spec.tiers[0]
    return desired.pool_deployment(wanted, tier, tier.planned, replicas, around)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # as PyYAML calls it
        return True


def spelled(manifest: Manifest) -> str:
    return yaml.dump(manifest, Dumper=_Plain, sort_keys=False, width=110)


def pod_spec(manifest: Manifest) -> Manifest:
    found = manifest["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def worker(manifest: Manifest) -> Manifest:
    (only,) = pod_spec(manifest)["containers"]
    assert isinstance(only, dict)
    return only


def environment(manifest: Manifest) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in worker(manifest)["env"]}


# ── goldens ───────────────────────────────────────────────────────────────────────────────────────────────────────────

PLACED: dict[str, Any] = {
    "nodeSelector": {"disk": "fast"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "a", "value": "b"},
    ],
    "podAnnotations": {"mesh.example/inject": "false"},
    "modelVolumes": [{"name": "weights", "claim": "flux-weights", "path": "/models/flux"}],
}
ATTEMPTS: dict[str, Manifest] = {
    "attempt": attempt(runner()),
    "attempt-by-labels": attempt(runner(tiers=CARD)),
    "attempt-by-dra": attempt(runner(tiers=CARD), BY_DRA),
    "attempt-with-queue": attempt(runner(), queue="team-a", project="night", number=3),
    "attempt-placed": attempt(
        runner(**PLACED), Surroundings(nats_url="nats://n:4222", image_pull_secrets=("registry",)), deadline="1h"
    ),
}
POOLS: dict[str, Manifest] = {
    "pool": pool(runner()),
    "pool-by-labels": pool(runner(tiers=CARD, **PLACED)),
    "pool-by-dra": pool(runner(tiers=CARD), BY_DRA),
}
AROUND_THEM: dict[str, Manifest] = {
    "secret": desired.worker_secret("film", "worker", "pass word"),
    "policy": desired.worker_policy("film", [NATS, ANYWHERE]),
    "claim-template": desired.claim_template("film", 24),
}
WORKLOADS = ATTEMPTS | POOLS


@pytest.mark.parametrize("name", WORKLOADS | AROUND_THEM)
def test_the_manifest_is_as_somebody_found_it_good(name: str) -> None:
    assert_golden(DATA / f"{name}.yaml", spelled((WORKLOADS | AROUND_THEM)[name]))


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in DATA.iterdir()} == set(WORKLOADS | AROUND_THEM)


# ── what holds of every worker's pod ──────────────────────────────────────────────────────────────────────────────────

every_workload = pytest.mark.parametrize("manifest", WORKLOADS.values(), ids=WORKLOADS)


@every_workload
def test_a_pod_is_restricted(manifest: Manifest) -> None:
    """Pod Security's `restricted`, a read-only root beside it, and nothing to reach the API server with."""
    spec, container = pod_spec(manifest), worker(manifest)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"}.isdisjoint(spec)


@every_workload
def test_the_image_alone_decides_what_runs(manifest: Manifest) -> None:
    assert {"command", "args"}.isdisjoint(worker(manifest))


@every_workload
def test_only_the_scratch_volume_can_be_written(manifest: Manifest) -> None:
    mounts = {mount["name"]: mount for mount in worker(manifest)["volumeMounts"]}
    volumes = {volume.pop("name"): volume for volume in map(dict, pod_spec(manifest)["volumes"])}
    assert mounts.keys() == volumes.keys()
    assert mounts.pop("scratch") == {"name": "scratch", "mountPath": "/tmp"}  # noqa: S108  # the container's
    assert volumes.pop("scratch") == {"emptyDir": {"sizeLimit": "20Gi"}}
    assert all(mount["readOnly"] for mount in mounts.values())
    assert all(volume["persistentVolumeClaim"]["readOnly"] for volume in volumes.values())


def test_how_much_a_worker_may_keep_is_a_setting() -> None:
    around = Surroundings(nats_url="nats://n:4222", scratch_limit="200Gi")
    for made in (attempt(runner(), around), pool(runner(), around)):
        assert {"name": "scratch", "emptyDir": {"sizeLimit": "200Gi"}} in pod_spec(made)["volumes"]


@every_workload
def test_no_secret_and_no_link_is_in_a_template(manifest: Manifest) -> None:
    """Whoever may read pods learns neither the password of NATS nor a URL that lets read or write media."""
    env = environment(manifest)
    assert {name: env[name] for name in ("AUTEUR_NATS__USER", "AUTEUR_NATS__PASSWORD")} == {
        "AUTEUR_NATS__USER": {"secretKeyRef": {"name": "auteur-worker", "key": "user"}},
        "AUTEUR_NATS__PASSWORD": {"secretKeyRef": {"name": "auteur-worker", "key": "password"}},
    }
    texts = list(_texts(manifest))
    assert [text for text in texts if "://" in text] == [env["AUTEUR_NATS__URL"]]
    assert not [text for text in texts if "X-Amz" in text or "s3:" in text]


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case str():
            yield value


@every_workload
def test_it_goes_with_what_it_was_made_for_and_holds_nobody_up(manifest: Manifest) -> None:
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, False)


@every_workload
def test_labels_are_labels(manifest: Manifest) -> None:
    for labels in (manifest["metadata"]["labels"], manifest["spec"]["template"]["metadata"]["labels"]):
        assert all(isinstance(value, str) and len(value) <= 63 for value in labels.values())
        assert labels["app.kubernetes.io/managed-by"] == "auteur-operator"


# ── attempts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_says_which_attempt_and_where_its_plan_is_asked_for() -> None:
    order = Order.model_validate_json(environment(ATTEMPTS["attempt-with-queue"])["AUTEUR_AGENT__ORDER"])
    assert order == Order(
        namespace="film",
        project="night",
        name="alley",
        uid="6f0c1a52-0000-4000-8000-000000000001",
        attempt=3,
        pool="studio_painter_standard",
    )


def test_kueue_alone_lets_a_queued_job_begin() -> None:
    """The label is on the Job and not on its pod, which Kueue would take for one of its own."""
    queued = ATTEMPTS["attempt-with-queue"]
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert "kueue.x-k8s.io/queue-name" not in queued["spec"]["template"]["metadata"]["labels"]
    assert "suspend" not in ATTEMPTS["attempt"]["spec"]


def test_the_kubelet_ends_an_attempt_long_after_its_agent_should_have() -> None:
    """Deadline, setup, and ten minutes; never the Job, whose time counts while it waits for a GPU."""
    made = attempt(runner(setupTimeout="20m"), deadline="1h")
    assert timedelta(seconds=pod_spec(made)["activeDeadlineSeconds"]) == timedelta(hours=1, minutes=30)
    assert "activeDeadlineSeconds" not in made["spec"]


def test_a_plan_outlives_its_tier() -> None:
    """The runner does not offer it any more: memory is guessed, and the card is what was planned."""
    made = waiting(by=runner(tiers=CARD))
    manifest = desired.attempt_job(made, plan_of(made), 2, runner(tiers=[CARD[0] | {"quality": "high"}]), AROUND)
    assert worker(manifest)["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"memory": "2Gi", "nvidia.com/gpu": "1"},
    }


def test_what_the_runner_says_now_decides_on_memory_and_card() -> None:
    """And the claim that the pod names is the one that is prepared for it."""
    made = waiting(by=runner(tiers=CARD))
    grown = runner(tiers=[CARD[0] | {"vramGigabytes": 48, "resources": {"memory": "64Gi"}}])
    manifest = desired.attempt_job(made, plan_of(made), 2, grown, BY_DRA)
    (claim,) = pod_spec(manifest)["resourceClaims"]
    prepared = desired.claim_template("film", desired.tier_of(grown, plan_of(made)).vram_gigabytes)
    assert claim["resourceClaimTemplateName"] == prepared["metadata"]["name"]
    assert worker(manifest)["resources"]["limits"] == {"memory": "64Gi"}
    planned = Tier.model_validate_json(environment(manifest)["AUTEUR_AGENT__TIER"])
    assert planned == plan_of(made).tier


@pytest.mark.parametrize(
    ("allocation", "has_class", "claims"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("dra", False, True),
        ("labels", True, False),
    ],
)
def test_how_a_card_is_asked_for(allocation: str, has_class: bool, claims: bool) -> None:  # noqa: FBT001  # a table
    around = Surroundings(nats_url="nats://n:4222", has_device_class=has_class)
    spec = pod_spec(attempt(runner(tiers=CARD, allocation=allocation), around))
    assert ("resourceClaims" in spec, "affinity" in spec) == (claims, not claims)


def test_a_tier_without_vram_asks_for_no_card() -> None:
    spec = pod_spec(attempt(runner(allocation="dra"), BY_DRA))
    assert {"resourceClaims", "affinity"}.isdisjoint(spec)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
params = st.dictionaries(texts, texts | st.integers(-5, 5) | st.none() | st.booleans())


@given(params, st.integers(1, 99), st.uuids(), st.sampled_from([None, "team-a"]))
def test_what_is_made_of_a_job_can_be_read_back(
    given_params: dict[str, Any], number: int, uid: Any, queue: str | None
) -> None:
    made = waiting(uid=str(uid), queue=queue)
    plan = plan_of(made).model_copy(update={"params": given_params})
    manifest = json.loads(json.dumps(desired.attempt_job(made, plan, number, runner(), AROUND)))
    seen = batch_job_of({**manifest, "metadata": manifest["metadata"] | {"uid": "b"}})
    assert (seen.job_uid, Plan.model_validate_json(seen.plan)) == (str(uid), plan)
    assert (seen.suspended, seen.ended, seen.deleting) == (queue is not None, False, False)
    template = manifest["spec"]["template"]
    pod = pod_of({"metadata": template["metadata"] | {"name": "p", "namespace": "film", "resourceVersion": "1"}})
    assert (pod.job, pod.job_uid, pod.attempt) == ("alley", str(uid), number)
    assert pod.pool == plan.pool


# ── pools ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deployment_selects_its_pods() -> None:
    for made in POOLS.values():
        selected = made["spec"]["selector"]["matchLabels"]
        assert selected.items() <= made["spec"]["template"]["metadata"]["labels"].items()


def test_a_pools_pods_take_orders_from_the_queue_and_not_from_the_environment() -> None:
    assert "AUTEUR_AGENT__ORDER" not in environment(POOLS["pool"])
    assert environment(POOLS["pool"])["AUTEUR_AGENT__POOL"] == "studio_painter_standard"


def test_the_same_is_asked_for_in_the_same_bytes_and_something_else_in_others() -> None:
    def told(wanted: FunctionRunner, replicas: int = 2) -> str:
        found = pool(wanted, replicas=replicas)["metadata"]["annotations"][desired.SPEC_HASH]
        assert isinstance(found, str)
        return found

    assert told(runner()) == told(runner(version=9))
    assert len({told(runner()), told(runner(image="registry.example/painter:2")), told(runner(), 3)}) == 3


def test_a_long_pools_label_is_cut_to_one_that_no_other_pool_has() -> None:
    one, other = (names.TierPool("n" * 40, f"{'r' * 40}{letter}", "standard") for letter in "ab")
    assert len(desired.pool_label(one)) == 63
    assert desired.pool_label(one) != desired.pool_label(other)
    assert desired.pool_label(names.TierPool("film", "painter", "high")) == "film_painter_high"


def test_the_longest_names_fit() -> None:
    name = "a" * 50
    made = waiting(name, namespace="n" * 63, by=runner("r" * 50, namespace="s" * 63))
    manifest = desired.attempt_job(made, plan_of(made), 9_999, runner("r" * 50, namespace="s" * 63), AROUND)
    assert manifest["metadata"]["name"] == f"{name}-9999"
    assert max(len(value) for value in manifest["metadata"]["labels"].values()) == 63
