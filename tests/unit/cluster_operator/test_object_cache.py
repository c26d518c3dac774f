"""What the watches show of everything but jobs."""

from typing import Any

import pytest

from auteur_contracts import names
from auteur_contracts.names import TierPool
from auteur_contracts.resources import FunctionRunner
from auteur_operator.object_cache import Deployment, ObjectCache, Unusable
from tests.unit.cluster_operator.making import NOW, POD, POOL, UID, raw_pod, raw_runner

POOL_LABELS = {names.LABEL_POOL: POOL, names.LABEL_RUNNER: "painter", names.LABEL_QUALITY: "standard"}


@pytest.fixture
def objects() -> ObjectCache:
    return ObjectCache(home="studio")


# ── pods ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pods_are_found_by_the_job_they_are_of(objects: ObjectCache) -> None:
    first = objects.take_pod(raw_pod("one"))
    second = objects.take_pod(raw_pod("two"))
    objects.take_pod(raw_pod("warm", labels=POOL_LABELS))
    objects.take_pod(raw_pod("one", namespace="ads"))  # whose labels anybody may write there
    assert objects.pods_of_job("film", UID) == [first, second]
    assert objects.pods_of_job("film", "another") == []


def test_a_pools_pods_are_those_of_no_job(objects: ObjectCache) -> None:
    """An attempt's pod bears its pool's label too."""
    objects.take_pod(raw_pod("attempt", namespace="studio"))
    warm = objects.take_pod(raw_pod("warm", namespace="studio", labels=POOL_LABELS))
    objects.take_pod(raw_pod("foreign", labels=POOL_LABELS))
    assert objects.pods_of_pool(TierPool("studio", "painter", "standard")) == [warm]


def test_a_pod_is_news_once_and_old_copies_are_none(objects: ObjectCache) -> None:
    seen = objects.take_pod(raw_pod(version=10, phase="Running"))
    assert objects.take_pod(raw_pod(version=10)) is None
    assert objects.take_pod(raw_pod(version=9)) is None
    assert objects.pods_of_job("film", UID) == [seen]
    newer = objects.take_pod(raw_pod(version=11, phase="Succeeded"))
    assert objects.pods_of_job("film", UID) == [newer]


def test_a_deleted_pod_leaves_nothing_behind(objects: ObjectCache) -> None:
    seen = objects.take_pod(raw_pod())
    assert objects.drop_pod("film", POD) == seen
    assert objects.drop_pod("film", POD) is None
    assert (objects.pods, objects.pods_of_job("film", UID), dict(objects._by_job), dict(objects._by_pool)) == (
        {},
        [],
        {},
        {},
    )


def test_attempts_that_have_not_started_are_known_apart(objects: ObjectCache) -> None:
    objects.enabled.add("film")
    seen = objects.take_pod(raw_pod(version=10, phase="Pending"))
    objects.take_pod(raw_pod(namespace="ads", phase="Pending"))  # where no jobs may run
    objects.take_pod(raw_pod("warm", labels=POOL_LABELS, phase="Pending"))
    assert list(objects.pending_attempts()) == [seen]
    objects.take_pod(raw_pod(version=11, phase="Running"))
    assert list(objects.pending_attempts()) == []
    objects.take_pod(raw_pod("gone", phase="Pending"))
    objects.drop_pod("film", "gone")
    assert list(objects.pending_attempts()) == []


def test_the_agent_of_an_attempt_is_no_worker_of_the_pool(objects: ObjectCache) -> None:
    """It beats for the pool, and leaves with its attempt."""
    objects.take_pod(raw_pod("attempt"))
    objects.take_pod(raw_pod("attempt", namespace="ads"))
    objects.take_pod(raw_pod("warm", namespace="studio", labels=POOL_LABELS))
    assert objects.is_of_attempt("attempt", POOL)
    assert not objects.is_of_attempt("warm", POOL)
    objects.take_pod(raw_pod("warm", namespace="ads"))
    assert not objects.is_of_attempt("warm", POOL), "a namesake elsewhere makes it no less the pool's"
    objects.drop_pod("film", "attempt")
    assert objects.is_of_attempt("attempt", POOL)
    objects.drop_pod("ads", "attempt")
    assert not objects.is_of_attempt("attempt", POOL)


# ── runners ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def catalogue(objects: ObjectCache, namespace: str) -> list[str]:
    return [f"{runner.metadata.namespace}/{runner.metadata.name}" for runner in objects.catalogue(namespace)]


def test_a_namespaces_own_runners_come_first_then_those_of_home_and_a_namesake_hides_its_elder(
    objects: ObjectCache,
) -> None:
    for name, namespace in (("voices", "studio"), ("painter", "studio"), ("painter", "film"), ("clips", "film")):
        objects.take_runner(raw_runner(name, namespace=namespace))
    objects.take_runner(raw_runner("secret", namespace="press"))
    assert catalogue(objects, "film") == ["film/clips", "film/painter", "studio/voices"]
    assert catalogue(objects, "studio") == ["studio/painter", "studio/voices"]
    assert catalogue(objects, "radio") == ["studio/painter", "studio/voices"]


def test_a_catalogue_follows_what_comes_and_goes(objects: ObjectCache) -> None:
    assert catalogue(objects, "film") == []
    objects.take_runner(raw_runner())
    assert catalogue(objects, "film") == ["studio/painter"]
    objects.drop_runner(("studio", "painter"))
    assert catalogue(objects, "film") == []
    objects.drop_runner(("studio", "painter"))


def test_a_runner_is_news_once(objects: ObjectCache) -> None:
    assert objects.take_runner(raw_runner(version=5))
    assert not objects.take_runner(raw_runner(version=5))
    assert not objects.take_runner(raw_runner(version=4))
    assert objects.take_runner(raw_runner(version=10))
    assert objects.runner_version(("studio", "painter")) == 10
    assert objects.runner_version(("studio", "nobody")) == 0


def test_a_runner_that_we_wrote_is_known_before_the_watch_shows_it(objects: ObjectCache) -> None:
    objects.take_runner(raw_runner(version=5))
    assert catalogue(objects, "film") == ["studio/painter"]
    known = objects.runners["studio", "painter"]
    assert isinstance(known, FunctionRunner)
    meta = known.metadata.model_copy(update={"resource_version": "6"})
    objects.put_runner(known.model_copy(update={"metadata": meta}))
    assert not objects.take_runner(raw_runner(version=6))
    assert objects.catalogue("film")[0].metadata.resource_version == "6"


TWICE = {"name": "text-to-image", "paramsSchema": {"type": "object"}}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"functions": [TWICE, TWICE]}, "functions: text-to-image is there twice"),
        (
            {"tiers": [{"quality": "low", "pipeline": "a"}, {"quality": "draft", "pipeline": "b"}]},
            "tiers: draft is there twice",
        ),
        (
            {"functions": [{"name": "f", "paramsSchema": {"type": "nonsense"}}]},
            'f: the schema of its parameters must have type "object"',
        ),
        ({"tiers": []}, "spec.tiers: Tuple should have at least 1 item after validation, not 0"),
        ({"colour": "red"}, "spec.colour: Extra inputs are not permitted"),
    ],
)
def test_a_runner_that_cannot_serve_says_why_and_is_in_no_catalogue(
    objects: ObjectCache, spec: dict[str, Any], why: str
) -> None:
    assert objects.take_runner(raw_runner(version=3, **spec))
    assert objects.runners["studio", "painter"] == Unusable("studio", "painter", 3, why)
    assert (catalogue(objects, "film"), objects.runner_of(POOL)) == ([], None)
    assert not objects.take_runner(raw_runner(version=3))


def test_a_runner_that_is_put_right_serves(objects: ObjectCache) -> None:
    objects.take_runner(raw_runner(version=3, tiers=[]))
    objects.take_runner(raw_runner(version=4))
    assert catalogue(objects, "film") == ["studio/painter"]


@pytest.mark.parametrize("pool", ["studio_painter_standard", "studio_painter_high"])
def test_a_pool_leads_to_its_runner(objects: ObjectCache, pool: str) -> None:
    objects.take_runner(raw_runner())
    found = objects.runner_of(pool)
    assert found is not None
    assert found.metadata.name == "painter"


@pytest.mark.parametrize("pool", ["painter", "film_painter_standard", "", "a_b_c_d"])
def test_a_pool_of_nobody_leads_nowhere(objects: ObjectCache, pool: str) -> None:
    objects.take_runner(raw_runner())
    assert objects.runner_of(pool) is None


# ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def raw_deployment(version: int = 1, replicas: int | None = 2, **meta: Any) -> dict[str, Any]:
    labels = {names.LABEL_RUNNER: "painter", names.LABEL_QUALITY: "standard"}
    annotations = {"auteur.studio/spec-hash": "abc"}
    own = {"name": "painter-standard", "namespace": "studio", "labels": labels, "annotations": annotations}
    spec = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {**own, "resourceVersion": str(version), **meta}, "spec": spec}


def test_a_deployment_is_found_by_its_runner_and_is_news_once(objects: ObjectCache) -> None:
    seen = objects.take_deployment(raw_deployment(5))
    assert seen == Deployment("studio", "painter-standard", 5, "painter", "standard", 2, "abc")
    assert objects.take_deployment(raw_deployment(5, replicas=9)) is None
    assert objects.deployments_of("studio", "painter") == [seen]
    assert objects.deployments_of("film", "painter") == []


def test_a_deployment_without_a_number_has_one_replica(objects: ObjectCache) -> None:
    seen = objects.take_deployment(raw_deployment(replicas=None))
    assert seen is not None
    assert seen.replicas == 1


@pytest.mark.parametrize(
    ("meta", "is_in", "why"),
    [
        ({"labels": {"auteur.studio/enabled": "true"}}, True, "it says so"),
        ({"labels": {"auteur.studio/enabled": "yes"}}, False, "only the word true counts"),
        ({"labels": {}}, False, "it does not"),
        ({}, False, "it has no labels"),
        (
            {"labels": {"auteur.studio/enabled": "true"}, "deletionTimestamp": NOW.isoformat()},
            False,
            "it is being deleted",
        ),
    ],
)
def test_which_namespaces_take_jobs_by_command(
    objects: ObjectCache,
    meta: dict[str, Any],
    is_in: bool,  # noqa: FBT001  # a table
    why: str,
) -> None:
    objects.enabled.add("film")
    objects.take_namespace({"metadata": {"name": "film", **meta}})
    objects.take_namespace({"metadata": {"name": "press", **meta}})
    assert objects.enabled == ({"film", "press"} if is_in else set()), why
