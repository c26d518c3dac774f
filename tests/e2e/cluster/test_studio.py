"""The whole studio on a real node, installed by its charts: a picture by kubectl and by the API, upgrades under load,
and what is left of it afterwards. Times are printed: `pytest -rP`.
"""

import contextlib
import hashlib
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from auteur_client.client import Client
from auteur_contracts.names import RESULT_NAME, AttemptPrefix, parse_s3_uri
from auteur_contracts.resources import GenerationJob, Output
from auteur_contracts.subjects import Fact
from auteur_contracts.vocabulary import ApiStatus, ConditionType
from auteur_contracts.web.http import CreateGeneration, GenerationReply
from tests.support.cluster import ours, studio
from tests.support.cluster.helm import Helm
from tests.support.cluster.network import ADDRESS
from tests.support.cluster.node import NodeRig
from tests.support.cluster.studio import Studio, Values, echo_job, everything, tier
from tests.support.objects import keys
from tests.support.servers import minio_argv, minio_environment
from tests.support.waiting import wait_for

SAMPLE = ours.CHECKOUT / "manifests" / "samples" / "text-to-image.yaml"
LITTLE = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "768Mi"}}
USED = ("generationjobs", "functionrunners", "jobs", "deployments", "pods", "secrets", "leases", "events", "nodes")
"""What an operator asks the API server about."""


def drawing(made: Values) -> Values:
    """Pictures: one worker stays warm for `standard`; `draft` has none, so that each gets a pod of its own."""
    small: Any = {"pipeline": "diffusion-tiny", "cpu": "250m", "memory": "2Gi"}
    size = {"width": 128, "height": 128}
    return {
        "image": made,
        "tiers": {
            "draft": tier(warm=0, defaults={"steps": 10, **size}, **small),
            "standard": tier(warm=1, defaults={"steps": 20, **size}, **small),
            "high": {"enabled": False},
            "ultra": {"enabled": False},
        },
    }


@dataclass
class Installed:
    """The installation that the tests of this module share."""

    studio: Studio
    values: Values
    runners: Values
    before: set[str]
    """What was in the cluster."""
    began: float
    """When `helm install` was called."""
    refused: float
    """How often the API server had refused something by then."""
    said: list[str] = field(default_factory=list)
    """What operators wrote that are gone by now."""


@pytest.fixture(scope="module")
def helm_home(node_rig: NodeRig, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"), node_rig.kubeconfig, node_rig.prefix)


@pytest.fixture(scope="module")
def installed(node_rig: NodeRig, helm_home: Helm) -> Iterator[Installed]:
    """Both charts, from an empty cluster, with everything in place where only restricted pods may run."""
    made = Studio(node_rig, helm_home, "auteur", "studio", "film")
    images = {name: studio.image(node_rig, name) for name in ("operator", "gateway", "nats", "store")}
    values: Values = {
        "operator": {
            "image": images["operator"],
            "resources": LITTLE,
            "keepFinishedJobs": "20s",
            "maxActivePerNamespace": 8,  # the node has two CPUs
        },
        "gateway": {"image": images["gateway"], "resources": LITTLE, "namespace": made.jobs_in},
        "nats": {"image": images["nats"]},
        "store": {"bundled": {"image": images["store"]}},
    }
    runners: Values = {
        "runners": {
            "diffusion-tiny": drawing(studio.image(node_rig, "runner-diffusion")),
            "echo": studio.echo_runner(
                studio.image(node_rig, ours.RUNNER_ECHO), {"draft": tier(warm=0), "standard": tier(warm=3)}
            ),
        }
    }
    studio.forget_crds(node_rig.kubectl)
    node_rig.kubectl.apply(studio.namespace(made.namespace), studio.opted_in(made.jobs_in))
    for each in (made.home, made.jobs):
        each("wait", "--for=create", "serviceaccount/default", "configmap/kube-root-ca.crt", "--timeout=90s")
    before, refused = everything(node_rig.kubectl), studio.refused(node_rig.kubectl, USED)
    began = time.monotonic()
    made.install(values, runners)
    print(f"both charts are installed after {time.monotonic() - began:.0f} s")
    yield Installed(made, values, runners, before, began, refused)
    made.uninstall()
    studio.forget_crds(node_rig.kubectl)
    node_rig.kubectl("delete", "namespace", made.namespace, made.jobs_in, "--wait=false")


def is_a_picture(data: bytes, output: Output) -> bool:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (output.width, output.height) == (128, 128)
    assert output.media_type == "image/png"
    return (len(data), hashlib.sha256(data).hexdigest()) == (output.bytes, output.sha256)


def sample(name: str, **spec: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(SAMPLE.read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"] |= spec
    return manifest


def finished(made: Studio, name: str, *, seconds: int = 300) -> GenerationJob:
    made.jobs("wait", f"gj/{name}", "--for=condition=Finished", f"--timeout={seconds}s", seconds=seconds + 10)
    job = made.job(name)
    assert job.status.is_true(ConditionType.SUCCEEDED), job.status.failure
    return job


async def from_the_store(made: Studio, job: GenerationJob) -> tuple[bytes, Output]:
    (output,) = job.status.outputs
    store = made.store()
    try:
        return await store.read(parse_s3_uri(output.uri)[1]), output
    finally:
        store.close()


# ── a smaller one, whose media lie elsewhere ──────────────────────────────────────────────────────────────────────────


async def test_media_lie_in_minio_and_a_small_installation_leaves_nothing(
    node_rig: NodeRig, helm_home: Helm, tmp_path: Path
) -> None:
    """MinIO runs on the node, beside the cluster, as somebody's own S3 does. Nothing of it is asked to stay."""
    made = Studio(node_rig, helm_home, "small", "small-studio", "small-film")
    studio.forget_crds(node_rig.kubectl)
    node_rig.kubectl.apply(studio.namespace(made.namespace), studio.opted_in(made.jobs_in))
    for each in (made.home, made.jobs):
        each("wait", "--for=create", "serviceaccount/default", "configmap/kube-root-ca.crt", "--timeout=90s")
    before = everything(node_rig.kubectl)
    keys = ("somebodys-key", "somebodys-secret")
    minio = node_rig.enclosure.process(
        "minio",
        minio_argv(tmp_path, f"{ADDRESS}:9000", "127.0.0.1:9001"),
        tmp_path / "minio.log",
        lambda: node_rig.enclosure.answers(f"http://{ADDRESS}:9000/minio/health/cluster"),
        env=minio_environment(*keys),
    )
    values: Values = {
        "crds": {"keep": False},
        "persistence": {"enabled": False},
        "operator": {
            "image": studio.image(node_rig, "operator"),
            "resources": LITTLE,
            "replicas": 1,
            # The garbage collector learns of new kinds twice a minute; what it did not know in time goes by this.
            "keepFinishedJobs": "10s",
        },
        "gateway": {"enabled": False},
        "nats": {"image": studio.image(node_rig, "nats")},
        "store": {
            "bucket": "media",
            "external": {"url": f"http://{ADDRESS}:9000"},
            "auth": {"accessKey": keys[0], "secretKey": keys[1]},
        },
    }
    echo = studio.echo_runner(studio.image(node_rig, ours.RUNNER_ECHO), {"standard": tier(warm=0)})
    try:
        minio.start()
        made.install(values, {"runners": {"diffusion-tiny": {"enabled": False}, "echo": echo}})
        made.jobs.apply(echo_job("kept", quality="standard", seconds=0, labels={}))
        job = finished(made, "kept")
        (output,) = job.status.outputs
        bucket, key = parse_s3_uri(output.uri)
        store = made.store_beside(9000, bucket, *keys)
        data = await store.read(key)
        store.close()
        made.uninstall()
        with contextlib.suppress(AssertionError):  # what is left is told below
            wait_for(lambda: everything(node_rig.kubectl) <= before, "nothing to be left", seconds=120)
        left = everything(node_rig.kubectl) - before
    finally:
        made.uninstall()
        node_rig.kubectl("delete", "namespace", made.namespace, made.jobs_in, "--wait=false")
        minio.kill()
    assert left == set()
    assert bucket == "media"
    assert (len(data), hashlib.sha256(data).hexdigest()) == (output.bytes, output.sha256)
    assert b'"text":"kept"' in data.replace(b" ", b"")
    assert (tmp_path / "data" / "media" / key).exists(), "MinIO keeps each object in a folder of its name"


# ── one that is installed, used, upgraded, and removed ────────────────────────────────────────────────────────────────


async def test_a_picture_by_kubectl_warm_and_cold(installed: Installed) -> None:
    made = installed.studio
    made.jobs("apply", "-f", SAMPLE)
    first = finished(made, "demo-1")
    print(f"from `helm install` to the first picture: {time.monotonic() - installed.began:.0f} s")
    assert is_a_picture(*await from_the_store(made, first))

    began = time.monotonic()
    made.jobs.apply(sample("demo-warm"))
    warm = finished(made, "demo-warm")
    print(f"a picture by a warm worker: {time.monotonic() - began:.1f} s")
    assert is_a_picture(*await from_the_store(made, warm))
    assert made.jobs("get", "jobs.batch", "-o", "name", "--ignore-not-found") == "", "a warm worker needs no batch Job"
    workers = made.home.get("pods", "-l", "auteur.studio/runner=diffusion-tiny,auteur.studio/quality=standard")["items"]
    assert [warm.status.worker] == [each["metadata"]["name"] for each in workers]

    began = time.monotonic()
    made.jobs.apply(sample("demo-cold", quality="draft"))
    cold = finished(made, "demo-cold")
    print(f"a picture by a pod of its own: {time.monotonic() - began:.1f} s")
    assert is_a_picture(*await from_the_store(made, cold))
    assert cold.status.worker.startswith("demo-cold-1-"), "the pod of the attempt's batch Job"


def test_everything_is_ready_and_helm_test_passes(installed: Installed) -> None:
    made = installed.studio
    began = time.monotonic()
    said = made.helm("test", made.release, "--namespace", made.namespace, "--timeout", "150s", seconds=200)
    print(f"helm test: {time.monotonic() - began:.0f} s")
    assert said.count("Succeeded") >= 2
    assert "Failed" not in said
    wait_for(lambda: all_ready(made), "every pod to be ready", seconds=120)


def all_ready(made: Studio) -> bool:
    def ready(pod: dict[str, Any]) -> bool:
        return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"]["conditions"])

    pods = [each for each in made.home.get("pods")["items"] if each["status"]["phase"] != "Succeeded"]
    return len(pods) >= 9 and all(map(ready, pods))


def test_a_picture_by_the_api(installed: Installed) -> None:
    made = installed.studio
    asked = CreateGeneration(prompt="a small green circle on a white background")
    with made.api() as api:
        began = time.monotonic()
        created = api.create(asked)

        def over() -> GenerationReply | None:
            seen = api.get(created.job_id)
            return seen if seen.status.finished else None

        reply = wait_for(over, "the job to end", seconds=120)
        assert reply is not None
        print(f"a picture by the API: {time.monotonic() - began:.1f} s")
        assert reply.status is ApiStatus.DONE, reply.message
        (output,) = reply.outputs
        link = httpx.get(
            api.output_url(created.job_id, output.name),
            headers={"Authorization": f"Bearer {made.secret('gateway')['tokens']}"},
            follow_redirects=False,
        ).headers["location"]
        listed = {each.job_id for each in api.jobs()}
    job = made.job(created.job_id)
    assert made.jobs("get", "gj", created.job_id).splitlines()[1].split()[0] == created.job_id
    assert set(made.jobs("get", "gj", "-o", "jsonpath={.items[*].metadata.name}").split()) <= listed, "kubectl's too"
    assert is_a_picture(followed(made, link), job.status.outputs[0])


def followed(made: Studio, link: str) -> bytes:
    """It is signed for the store's name in the cluster, which only the cluster knows."""
    url = httpx.URL(link)
    assert url.host == f"{made.full_name}-store.{made.namespace}.svc"
    near = url.copy_with(host="127.0.0.1", port=made.forward("store", 8333))
    answer = httpx.get(near, headers={"Host": url.netloc.decode()})
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.timeout(900)
async def test_upgrades_lose_none_of_200_jobs_in_flight_and_commit_none_twice(installed: Installed) -> None:
    made, flight = installed.studio, Flight(installed.studio, "flight", 200)
    installed.said.append(made.logs("operator"))
    began = time.monotonic()
    flight.starts()

    before, at_first = (running(made, "operator", "gateway"), running(made, "nats", "store")), flight.phases()
    upgrading = time.monotonic()
    made.upgrade(installed.values | {"log": {"level": "debug"}})
    upgraded = flight.phases()
    print(f"helm upgrade of operator and gateway: {time.monotonic() - upgrading:.0f} s; {at_first} → {upgraded}")
    assert not running(made, "operator", "gateway") & before[0], "they were restarted"
    assert running(made, "nats", "store") == before[1], "they were not"

    rolling, workers = time.monotonic(), running(made, runner="echo")
    annotated = {"podAnnotations": {"example.com/revision": "2"}}
    made.upgrade_runners({"runners": {name: each | annotated for name, each in installed.runners["runners"].items()}})
    wait_for(lambda: not running(made, runner="echo") & workers, "new workers instead of the old ones", seconds=240)
    rolled = flight.phases()
    print(f"helm upgrade until all workers are new ones: {time.monotonic() - rolling:.0f} s; {upgraded} → {rolled}")
    assert flight.left(at_first) > flight.left(upgraded) > 0
    flight.ends()
    print(f"200 jobs through two upgrades: {time.monotonic() - began:.0f} s")

    jobs = await flight.each_ended_once()
    ends = await made.ends()
    assert Counter(len(ends[job.metadata.uid]) for job in jobs) == {1: 200}
    assert {fact for job in jobs for _, fact in ends[job.metadata.uid]} == {Fact.SUCCEEDED}


@pytest.mark.timeout(900)
async def test_an_upgrade_that_restarts_nats_and_the_store_loses_nothing_either(installed: Installed) -> None:
    made, flight = installed.studio, Flight(installed.studio, "beneath", 60)
    flight.starts()
    before, upgrading = running(made, "nats", "store"), time.monotonic()
    annotated = {"podAnnotations": {"example.com/revision": "2"}}
    values = installed.values
    store = {"bundled": values["store"]["bundled"] | annotated}
    made.upgrade(values | {"nats": values["nats"] | annotated, "store": store})
    upgraded = flight.phases()
    print(f"helm upgrade of NATS and the store: {time.monotonic() - upgrading:.0f} s; {upgraded}")
    assert not running(made, "nats", "store") & before
    assert flight.left(upgraded) > 0
    flight.ends()
    print(f"60 jobs through it: {time.monotonic() - upgrading:.0f} s")
    await flight.each_ended_once()


@dataclass(frozen=True)
class Flight:
    """Many jobs at once."""

    studio: Studio
    name: str
    count: int

    def starts(self) -> None:
        """Every tenth is cold. Returns when the first have ended."""
        labels = {"test": self.name}
        self.studio.jobs.create(
            *(
                echo_job(
                    f"{self.name}-{number:03}", quality="standard" if number % 10 else "draft", seconds=1, labels=labels
                )
                for number in range(self.count)
            )
        )
        wait_for(lambda: self.phases()["Succeeded"] >= 5, "the first jobs to end", seconds=120)

    def ends(self) -> None:
        wait_for(lambda: not self.left(self.phases()), "all of them to end", seconds=420)

    def phases(self) -> Counter[str]:
        path = "jsonpath={range .items[*]}{.status.phase}{'\\n'}{end}"
        told = self.studio.jobs("get", "gj", "-l", f"test={self.name}", "-o", path)
        return Counter(line or "Pending" for line in told.split("\n")[:-1])

    def left(self, phases: Counter[str]) -> int:
        return self.count - phases["Succeeded"] - phases["Failed"] - phases["Cancelled"]

    async def each_ended_once(self) -> list[GenerationJob]:
        """All have succeeded, each function ran to its end once, what it left is what the job says; the API knows."""
        jobs = self.studio.all_jobs(f"test={self.name}")
        assert Counter(job.status.phase for job in jobs) == {"Succeeded": self.count}
        assert all(job.status.is_true(ConditionType.SUCCEEDED) for job in jobs)
        assert [job.metadata.name for job in jobs if job.status.failures or job.status.losses] == []
        results, files = await self._stored({job.metadata.uid for job in jobs})
        assert results == {job.metadata.uid: 1 for job in jobs}
        assert files == {parse_s3_uri(output.uri)[1] for job in jobs for output in job.status.outputs}
        named = {job.metadata.name for job in jobs}
        with self.studio.api() as api:
            wait_for(lambda: done(api) >= named, "the API to know")
        return jobs

    async def _stored(self, uids: set[str]) -> tuple[Counter[str], set[str]]:
        """How many attempts of each job have told how they ended, and the files that they left."""
        store = self.studio.store()
        found_keys = await keys(store, f"{self.studio.jobs_in}/")
        store.close()
        found = {key: attempt for key in found_keys if (attempt := AttemptPrefix.parse(key)) and attempt.uid in uids}
        results = {key for key in found if key.endswith(f"/{RESULT_NAME}")}
        return Counter(found[key].uid for key in results), set(found) - results


def done(api: Client) -> set[str]:
    return {each.job_id for each in api.jobs() if each.status is ApiStatus.DONE}


def running(made: Studio, *components: str, runner: str = "") -> set[str]:
    """Uids of pods that nobody has asked to end: of these components, or of a runner's pools."""
    ours_or_workers = f"app.kubernetes.io/component in ({','.join(components)})", f"auteur.studio/runner={runner}"
    found = [each["metadata"] for each in made.home.get("pods", "-l", ours_or_workers[bool(runner)])["items"]]
    return {each["uid"] for each in found if "deletionTimestamp" not in each}


def test_the_operator_was_refused_nothing(installed: Installed) -> None:
    """It had the rights that the chart gives it, and no others."""
    made = installed.studio
    said = "\n".join((*installed.said, made.logs("operator")))
    assert "operator leads" in said, "these are its logs"
    assert [line for line in said.splitlines() if "orbidden" in line or "cannot list" in line] == []
    assert studio.refused(made.rig.kubectl, USED) == installed.refused


async def test_what_is_uninstalled_leaves_only_what_was_asked_to_stay_and_is_found_again(installed: Installed) -> None:
    made, kubectl = installed.studio, installed.studio.rig.kubectl
    made.jobs.apply(sample("demo-kept"))
    kept = finished(made, "demo-kept")
    began = time.monotonic()
    made.uninstall()
    print(f"helm uninstall of both: {time.monotonic() - began:.0f} s")
    jobs = made.jobs("get", "gj", "-o", "jsonpath={.items[*].metadata.name}").split()
    expected = {
        *(f"CustomResourceDefinition.apiextensions.k8s.io//{name}" for name in studio.CRDS),
        "APIService.apiregistration.k8s.io//v1alpha1.auteur.studio",
        *(f"GenerationJob.auteur.studio/{made.jobs_in}/{name}" for name in jobs),
        *(
            f"PersistentVolumeClaim/{made.namespace}/{name}"
            for name in ("data-auteur-nats-0", "data-auteur-store-0", "auteur-gateway")
        ),
    }
    began = time.monotonic()
    wait_for(lambda: everything(kubectl) - installed.before <= expected, "the rest to be gone", seconds=180)
    print(f"until nothing else was left: {time.monotonic() - began:.0f} s")
    assert everything(kubectl) - installed.before == expected

    made.install(installed.values, installed.runners)
    assert made.job("demo-kept").status.outputs == kept.status.outputs
    assert is_a_picture(*await from_the_store(made, kept)), "the picture lies where it lay"
    with made.api() as api:
        assert done(api) >= set(jobs), "nothing is forgotten"
    made.jobs.apply(sample("demo-again"))
    assert is_a_picture(*await from_the_store(made, finished(made, "demo-again")))
