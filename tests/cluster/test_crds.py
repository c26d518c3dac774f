"""The CRDs on a real API server: accepted, explained, obeyed, and kind to what older releases stored."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from auteur_contracts.crds import DECLARATIONS, JOBS, RULES, Declaration, crd, fields_of, schema_of
from auteur_contracts.orders import Outcome
from auteur_contracts.resources import Cost, FunctionRunner, GenerationJob, Progress, QueueStatus
from auteur_contracts.vocabulary import Fault, Reason
from auteur_lifecycle import status as lifecycle
from tests.support.cluster import api
from tests.support.cluster.control_plane import Cluster
from tests.support.cluster.kubectl import Kubectl, KubectlFailed
from tests.support.cluster.operators import install_crds
from tests.support.golden import assert_golden
from tests.support.schemas import largest
from tests.support.spec_fields import base, rows, told
from tests.support.waiting import wait_for
from tests.unit.lifecycle import making

ROOT = Path(__file__).parents[2]
MANIFESTS, DATA = ROOT / "manifests", ROOT / "tests" / "data" / "cluster"
BROKEN = DATA / "broken"
SAMPLES = sorted((MANIFESTS / "samples").glob("*.yaml"))
KINDS: dict[str, type[BaseModel]] = {"GenerationJob": GenerationJob, "FunctionRunner": FunctionRunner}
FREE = {"suspend", "cancel"}
"""What may be changed."""

by_name = pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.kind)


@pytest.fixture(scope="module")
def installed(control_plane: Cluster) -> Kubectl:
    """The cluster, once it knows our resources."""
    install_crds(control_plane.kubectl)
    return control_plane.kubectl


@pytest.fixture
def here(installed: Kubectl, namespace: str) -> Kubectl:
    """A namespace of the test's own."""
    return installed.within(namespace)


def job(name: str = "alley", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "auteur.studio/v1alpha1",
        "kind": "GenerationJob",
        "metadata": {"name": name},
        "spec": {"params": {"prompt": "a misty alley at night"}, **spec},
    }


def stored(here: Kubectl, name: str = "alley") -> dict[str, Any]:
    found: dict[str, Any] = here.get("gj", name)
    return found


def set_status(here: Kubectl, name: str, status: dict[str, Any], *, kind: str = "gj") -> None:
    """As the operator writes it: the whole of it, at the status subresource."""
    patch = json.dumps({"status": status})
    here("patch", kind, name, "--subresource=status", "--type=merge", "--patch-file=/dev/stdin", stdin=patch)


# ── accepted ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@by_name
def test_a_crd_is_established_and_structural(declaration: Declaration, installed: Kubectl) -> None:
    conditions = {
        told["type"]: told["status"] for told in installed.get("crd", declaration.name)["status"]["conditions"]
    }
    assert conditions == {"NamesAccepted": "True", "Established": "True"}, "no NonStructuralSchema among them"


@by_name
def test_what_was_written_is_what_is_kept(declaration: Declaration, installed: Kubectl) -> None:
    """Nothing of a schema is dropped by an API server that does not know it."""
    kept = installed.get("crd", declaration.name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert kept == schema_of(declaration)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_can_be_applied_twice_and_read_by_us(sample: Path, here: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", sample)
    first = here(*apply, "-o", "json")
    again = here(*apply, "-o", "json")
    before, after = _items(first), _items(again)
    assert [each["metadata"]["resourceVersion"] for each in before] == [
        each["metadata"]["resourceVersion"] for each in after
    ]
    for each in after:
        KINDS[each["kind"]].model_validate(each)
    here("apply", "--force-conflicts", "--server-side", "--dry-run=server", "-f", sample)


def _items(text: str) -> list[dict[str, Any]]:
    answer = json.loads(text)
    return answer["items"] if answer["kind"] == "List" else [answer]


@by_name
def test_applying_a_crd_again_changes_nothing(declaration: Declaration, installed: Kubectl) -> None:
    before = installed.get("crd", declaration.name)["metadata"]["resourceVersion"]
    installed("apply", "--server-side", "-f", MANIFESTS / "crds")
    assert installed.get("crd", declaration.name)["metadata"]["resourceVersion"] == before


def test_a_job_that_says_little_shows_what_holds_for_it(here: Kubectl) -> None:
    here.apply(job())
    assert stored(here)["spec"] == {
        "function": "text-to-image",
        "quality": "standard",
        "params": {"prompt": "a misty alley at night"},
        "project": "default",
        "priority": "normal",
        "retries": 2,
        "deadline": "5m",
        "startDeadline": "1h",
        "ttlSecondsAfterFinished": 86400,
    }
    assert GenerationJob.model_validate(stored(here)).spec == GenerationJob.model_validate(job()).spec


def test_free_json_is_kept_as_it_was_written(here: Kubectl) -> None:
    params = {"prompt": "ä 🦊", "seed": 2**53 + 1, "nested": {"list": [1, 2.5, None, {"a": None}]}, "nothing": None}
    here.create(job(params=params))
    assert stored(here)["spec"]["params"] == params


# ── explained and shown ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "gj",
        "gj.spec",
        "gj.spec.inputs",
        "gj.spec.paramsFrom",
        "gj.spec.quality",
        "gj.status",
        "gj.status.conditions",
        "gj.status.failure",
        "fr.spec",
        "fr.spec.tiers",
        "fr.spec.tiers.warm",
        "fr.status",
    ],
)
def test_explain(path: str, installed: Kubectl) -> None:
    assert_golden(DATA / "explain" / f"{path}.txt", installed("explain", path))


def lives() -> dict[str, GenerationJob]:
    """One job at each turn of its life."""
    running = making.running()
    half = Progress(phase="denoise", fraction=0.42, step=13, steps=30, eta_seconds=7)
    done = making.report(Outcome.SUCCEEDED, outputs=[making.output().model_dump()], metrics={"run_seconds": 12.5})
    failed = making.report(Outcome.FAILED, failure=making.failure(Fault.USER, Reason.FUNCTION_FAILED).model_dump())
    refused = making.job(quality="ultra")
    waiting = making.waiting()
    queue, cost = QueueStatus(position=3, eta_seconds=40), Cost(usd=Decimal("0.0041"), gpu_seconds=13.5)
    return {
        "cancelled": making.having(running, lifecycle.cancel(running, "ada", making.NOW)),
        "done": making.having(running, lifecycle.report(running, done, making.NOW)),
        "failed": making.having(running, lifecycle.report(running, failed, making.NOW)),
        "queued": making.having(waiting, waiting.status.model_copy(update={"queue": queue})),
        "refused": making.having(refused, lifecycle.next_status(refused, making.seen(), making.NOW)),
        "running": making.having(running, lifecycle.progress(running, 1, half).model_copy(update={"cost": cost})),
        "suspended": making.waiting(suspend=True),
        "unseen": making.job(),
    }


def test_get(here: Kubectl) -> None:
    for name, life in lives().items():
        spec = life.spec.model_dump(mode="json", exclude_defaults=True)
        here.apply(job(name, **spec))
        status = life.model_dump(mode="json", exclude_none=True)["status"]
        if life.status.conditions:
            set_status(here, name, status)
            kept = GenerationJob.model_validate(stored(here, name))
            assert kept.status == life.status
    for words in ((), ("-o", "wide")):
        shown = re.sub(r"(?m)\d+[smh](\d+s)?$", "AGE", here("get", "gj", *words))
        assert_golden(DATA / "get" / f"{'-'.join(['gj', *words]).replace('-o-', '')}.txt", shown)


def test_get_runners(here: Kubectl) -> None:
    here("apply", "--server-side", "-f", MANIFESTS / "samples" / "function-runner.yaml")
    status = {"ready": False, "workersReady": 0, "workersBusy": 1, "message": "needs 24 GB of GPU memory"}
    set_status(here, "diffusion-tiny", status, kind="fr")
    shown = re.sub(r"(?m)\d+[smh](\d+s)?$", "AGE", here("get", "fr", "-o", "wide"))
    assert_golden(DATA / "get" / "fr-wide.txt", shown)


def test_all_of_ours_are_one_category(here: Kubectl) -> None:
    here.apply(job())
    here("apply", "--server-side", "-f", MANIFESTS / "samples" / "function-runner.yaml")
    found = here("get", "auteur", "-o", "name").split()
    assert found == ["functionrunner.auteur.studio/diffusion-tiny", "generationjob.auteur.studio/alley"]


# ── refused ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def refusal(here: Kubectl, manifest: Path) -> str:
    """What kubectl says, in an order of ours: the API server's changes from time to time."""
    done = here.run("apply", "--dry-run=server", "-f", "-", stdin=manifest.read_text(encoding="utf-8"))
    assert done.returncode != 0, f"{manifest.name} was accepted: {done.stdout}"
    first, *more = done.stderr.splitlines()
    fields = re.compile(r"spec\.\w+(, spec\.\w+)+")
    first = fields.sub(lambda found: ", ".join(sorted(found.group().split(", "))), first)
    return "\n".join([first, *sorted(more)])


@pytest.mark.parametrize("manifest", sorted((BROKEN / "new").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_broken_file_is_refused_in_words(manifest: Path, installed: Kubectl) -> None:
    assert_golden(manifest.with_suffix(".txt"), refusal(installed, manifest))


def test_a_change_is_refused_in_words(here: Kubectl) -> None:
    here("apply", "-f", BROKEN / "there.yaml")
    changes = sorted((BROKEN / "changed").glob("*.yaml"))
    assert changes
    for manifest in changes:
        assert_golden(manifest.with_suffix(".txt"), refusal(here, manifest))


def test_what_may_be_changed(here: Kubectl) -> None:
    here.apply(job())
    for suspend in (True, False, None, True):
        patch = json.dumps({"spec": {"suspend": suspend}})
        here("patch", "gj", "alley", "--type=merge", "-p", patch)
    here("patch", "gj", "alley", "--type=merge", "-p", '{"spec": {"cancel": false}}')
    here("patch", "gj", "alley", "--type=merge", "-p", '{"spec": {"cancel": true}}')
    assert stored(here)["spec"]["cancel"] is True


def test_null_is_nothing_elsewhere(here: Kubectl) -> None:
    """What pydantic writes of fields that are not there."""
    spec = GenerationJob.model_validate(
        job(function="image-to-image", inputs=[{"name": "image", "from": {"job": "a"}}])
    ).spec
    here.create({**job(), "spec": spec.model_dump(mode="json")})
    assert stored(here)["spec"]["inputs"] == [{"name": "image", "from": {"job": "a"}}]
    assert "queue" not in stored(here)["spec"]


def test_null_is_a_value_of_a_parameter_like_any_other(here: Kubectl) -> None:
    """CEL has trouble with it where the schema does not say nullable: then such a job could not even be suspended."""
    here.create(job(params={"prompt": "x", "seed": None}))
    here("patch", "gj", "alley", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    for patch in (
        '{"op": "remove", "path": "/spec/params/seed"}',
        '{"op": "replace", "path": "/spec/params/seed", "value": 1}',
    ):
        with pytest.raises(KubectlFailed, match=r"spec\.params cannot be changed"):
            here("patch", "gj", "alley", "--type=json", "-p", f"[{patch}]")


# ── the table of fields ───────────────────────────────────────────────────────────────────────────────────────────────

JOBS_PATH, RUNNERS_PATH = (f"/apis/auteur.studio/v1alpha1/namespaces/{{}}/{each.plural}" for each in DECLARATIONS)
DRY = {"dryRun": "All", "fieldValidation": "Strict"}


@pytest.mark.parametrize(("kind", "path"), [("GenerationJob", JOBS_PATH), ("FunctionRunner", RUNNERS_PATH)])
async def test_each_value_of_each_field_is_taken_or_refused_as_the_table_says(
    kind: str, path: str, installed: Kubectl
) -> None:
    async with api.connect(installed.kubeconfig) as client:
        for row in rows(kind):
            answer = await client.post(path.format("default"), json=row.resource("row"), params=DRY)
            assert told(answer.json()) == row.refused, str(row)


async def test_no_field_of_a_job_that_is_there_can_get_another_value(here: Kubectl) -> None:
    """Each row of a job that is taken, as a change of one that is there."""
    here.apply({**job("row"), "spec": base("GenerationJob")})
    version = stored(here, "row")["metadata"]["resourceVersion"]
    async with api.connect(here.kubeconfig) as client:
        for row in rows("GenerationJob"):
            if row.refused or row.field in FREE:
                continue
            changed = row.resource("row", namespace=here.namespace)
            changed["metadata"]["resourceVersion"] = version
            answer = await client.put(f"{JOBS_PATH.format(here.namespace)}/row", json=changed, params=DRY)
            names = told(answer.json()).removeprefix("spec: Forbidden: ").partition(" cannot be changed;")[0]
            assert set(names.split(", ")) == {f"spec.{name}" for name in row.asks}, str(row)


# ── as large as it may be ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_largest_job_with_the_largest_status_can_be_stored(here: Kubectl) -> None:
    schema = schema_of(JOBS)["properties"]
    spec = largest(schema["spec"], free=128 * 1024)
    for item in spec["inputs"]:
        del item["from"]
    spec |= {"suspend": False, "cancel": False, "deadline": "366d", "startDeadline": "366d"}
    name = "a" * 50
    here.create({**job(name), "spec": spec})
    status = largest(schema["status"], free=144 * 1024)
    for at, condition in enumerate((*status["conditions"], status["failure"])):
        condition["reason"] = list(Reason)[at].value
    set_status(here, name, status)
    kept = stored(here, name)
    assert kept["status"] == status
    assert GenerationJob.model_validate(kept).status.outputs[255].name


# ── older releases ────────────────────────────────────────────────────────────────────────────────────────────────────

OLD_GROUP = "older.example"


def _of_old_group(made: dict[str, Any]) -> dict[str, Any]:
    """Under another group: the session's own CRD stays as it is."""
    made["spec"] |= {"group": OLD_GROUP}
    made["spec"]["names"] = {"kind": "GenerationJob", "plural": "generationjobs", "singular": "generationjob"}
    made["metadata"]["name"] = f"generationjobs.{OLD_GROUP}"
    return made


def _older(made: dict[str, Any]) -> dict[str, Any]:
    """As an earlier release may have been: fewer fields, narrower words, wider bounds, no rules, no defaults."""
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec, status = schema["properties"]["spec"]["properties"], schema["properties"]["status"]["properties"]
    for name in ("queue", "startDeadline", "paramsFrom"):
        del spec[name]
    for name in ("shown", "warnings", "resumeTime"):
        del status[name]
    spec["quality"]["enum"] = ["standard"]
    spec["retries"]["maximum"] = 100
    spec["deadline"] = {"type": "string"}
    for _, part in fields_of(schema):
        part.pop(RULES, None)
        part.pop("default", None)
    return made


@pytest.fixture
def older(control_plane: Cluster) -> Iterator[Kubectl]:
    kubectl = control_plane.kubectl
    made = _older(_of_old_group(crd(JOBS)))
    kubectl.apply(made)
    kubectl.learn(made["metadata"]["name"])
    yield kubectl
    kubectl.delete(made)


def test_what_an_older_release_stored_stays_readable_and_can_go_on(older: Kubectl, namespace: str) -> None:
    here, jobs = older.within(namespace), f"generationjobs.{OLD_GROUP}"
    api = {"apiVersion": f"{OLD_GROUP}/v1alpha1"}
    long = "a-name-that-no-newer-release-would-take-because-it-is-long"
    here.create(job("usual") | api, job(long, retries=50, deadline="a while") | api)
    before = {name: here.get(jobs, name) for name in ("usual", long)}

    older.apply(_of_old_group(crd(JOBS)))
    wait_for(
        lambda: here.get(jobs, "usual")["spec"].get("startDeadline"),
        "the API server to read by the newer schema",
    )

    for name, was in before.items():
        now = here.get(jobs, name)
        assert was["spec"].items() <= now["spec"].items()
        assert now["spec"]["startDeadline"] == "1h"  # the newer release's default, from now on
        told = making.running().model_dump(mode="json", exclude_none=True)["status"]
        set_status(here, name, told, kind=jobs)
        assert here.get(jobs, name)["status"] == told
        here("patch", jobs, name, "--type=merge", "-p", '{"spec": {"suspend": true}}')
        here("patch", jobs, name, "--type=merge", "-p", '{"spec": {"cancel": true}}')
        here("label", jobs, name, "auteur.studio/project=film")
        with pytest.raises(KubectlFailed, match=r"spec\.retries cannot be changed"):
            here("patch", jobs, name, "--type=merge", "-p", '{"spec": {"retries": 3}}')
