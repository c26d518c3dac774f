"""The studio on a node: its charts, the images of this checkout, and ways to its programs from outside."""

import json
import subprocess
import sys
import uuid
from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from auteur_client.client import Client
from auteur_contracts import names
from auteur_contracts.events import Envelope
from auteur_contracts.resources import GenerationJob
from auteur_contracts.subjects import EVENTS, TERMINAL_FACTS, Fact
from auteur_kit.bus import Bus, EventLog
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from tests.support.cluster import ours
from tests.support.cluster.helm import CHARTS, Helm, runners_but
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.network import ADDRESS
from tests.support.cluster.node import NodeRig

Values = dict[str, Any]
CRDS = ("generationjobs.auteur.studio", "functionrunners.auteur.studio")
ECHO = "tests.support.echo:Echo"
_KEYS = ("access-key", "secret-key")
# They come and go by themselves, and tell of what is listed anyway.
_FLEETING = {"events", "events.events.k8s.io", "componentstatuses"}


@dataclass(frozen=True)
class Studio:
    """One installation: two releases in `namespace`, jobs in another one. Making one of these installs nothing."""

    rig: NodeRig
    helm: Helm
    release: str
    namespace: str
    jobs_in: str

    @property
    def runners_release(self) -> str:
        return f"{self.release}-runners"

    @property
    def full_name(self) -> str:
        """Before the names of all that it is made of."""
        return self.release if "auteur" in self.release else f"{self.release}-auteur"

    @property
    def home(self) -> Kubectl:
        return self.rig.kubectl.within(self.namespace)

    @property
    def jobs(self) -> Kubectl:
        return self.rig.kubectl.within(self.jobs_in)

    # ── charts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def install(self, values: Values, runners: Values) -> None:
        """As the notes of the chart say it."""
        self._release("install", "auteur", values, "--wait", "--timeout", "240s")
        self._release("install", "auteur-runners", runners)

    def upgrade(self, values: Values) -> None:
        self._release("upgrade", "auteur", values, "--wait", "--timeout", "240s")

    def upgrade_runners(self, runners: Values) -> None:
        self._release("upgrade", "auteur-runners", runners)

    def _release(self, verb: str, chart: str, values: Values, *words: str) -> None:
        file = self.helm.folder / f"{chart}-{uuid.uuid4().hex[:8]}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(values))
        name = self.release if chart == "auteur" else self.runners_release
        what = (name, CHARTS / chart, "--values", file, "--namespace", self.namespace)
        if chart == "auteur-runners":
            words = (*words, *runners_but(*values["runners"]))
        self.helm(verb, *what, *words, seconds=300)

    def uninstall(self) -> None:
        """Whatever of it there is; runners first, as the documentation says."""
        for release in (self.runners_release, self.release):
            words = ("--ignore-not-found", "--wait", "--timeout", "150s")
            self.helm("uninstall", release, "--namespace", self.namespace, *words, seconds=200)

    # ── ways in ───────────────────────────────────────────────────────────────────────────────────────────────────

    def api(self) -> Client:
        token = self.secret("gateway")["tokens"]
        return Client(f"http://127.0.0.1:{self.forward('gateway', 8000)}", token=token)

    def store(self, bucket: str = "auteur") -> Store:
        """The bundled one, with its keys. To be closed."""
        access_key, secret_key = (self.secret("store")[key] for key in _KEYS)
        return self._store(self.forward("store", 8333), bucket, access_key, secret_key)

    def store_beside(self, port: int, bucket: str, access_key: str, secret_key: str) -> Store:
        """One that runs on the node, but not in the cluster."""
        return self._store(self.rig.enclosure.forward(port, ADDRESS), bucket, access_key, secret_key)

    def forward(self, component: str, port: int) -> int:
        """The port of the machine's loopback that leads to a service of the installation."""
        service = self.home.get("service", f"{self.full_name}-{component}")
        return self.rig.enclosure.forward(port, service["spec"]["clusterIP"])

    @staticmethod
    def _store(port: int, bucket: str, access_key: str, secret_key: str) -> Store:
        told = {"url": f"http://127.0.0.1:{port}", "access_key": access_key, "secret_key": secret_key, "bucket": bucket}
        return Store(StoreSettings.model_validate(told))

    def secret(self, component: str) -> dict[str, str]:
        data = self.home.get("secret", f"{self.full_name}-{component}")["data"]
        return {key: b64decode(value).decode() for key, value in data.items()}

    # ── what became of jobs ───────────────────────────────────────────────────────────────────────────────────────

    def job(self, name: str) -> GenerationJob:
        return GenerationJob.model_validate(self.jobs.get("gj", name))

    def all_jobs(self, selector: str) -> list[GenerationJob]:
        return [GenerationJob.model_validate(each) for each in self.jobs.get("gj", "-l", selector)["items"]]

    async def ends(self) -> Mapping[str, set[tuple[str, Fact]]]:
        """Uid → the ids of all that was ever said of its end, with what it was."""
        password = self.secret("nats")["operator-password"]
        url = f"nats://127.0.0.1:{self.forward('nats', 4222)}"
        told = NatsSettings.model_validate({"url": url, "user": "operator", "password": password})
        said: defaultdict[str, set[tuple[str, Fact]]] = defaultdict(set)
        async with Bus.connect(told, name="test") as bus:
            events = EventLog(bus)
            position = await events.position()
            async for delivery in events.replay(EVENTS, after=0, until=position.last):
                envelope = Envelope.model_validate_json(delivery.data)
                if envelope.data.fact in TERMINAL_FACTS:
                    said[envelope.uid].add((envelope.id, envelope.data.fact))
        return said

    def logs(self, component: str) -> str:
        """Of all its pods, also of containers that ended."""
        selector = f"app.kubernetes.io/component={component},app.kubernetes.io/instance={self.release}"
        return self.home("logs", "-l", selector, "--tail=-1", "--prefix", "--ignore-errors")


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def image(rig: NodeRig, name: str) -> Values:
    """Built and pushed, if need be; as charts want to hear of it."""
    repository, _, tag = rig.images.push(ours.build(rig.images, name), rig.registry).rpartition(":")
    return {"repository": repository, "tag": tag}


def echo_runner(made: Values, tiers: Values, **more: Any) -> Values:
    """An entry of `runners`; its functions as the runner describes itself."""
    describe = (sys.executable, "-m", "auteur_runner", "describe", ECHO)
    said = subprocess.run(describe, check=True, capture_output=True, text=True, cwd=ours.CHECKOUT).stdout
    return {"image": made, "functions": json.loads(said)["spec"]["functions"], "tiers": tiers, **more}


def tier(*, warm: int, cpu: str = "20m", memory: str = "256Mi", pipeline: str = "echo", **more: Any) -> Values:
    """With so many warm workers, always; with none, each attempt gets a pod of its own."""
    kept = {"min": warm, "max": warm, "idleSeconds": 60}
    return {"pipeline": pipeline, "resources": {"cpu": cpu, "memory": memory, "threads": 1}, "warm": kept, **more}


def echo_job(name: str, *, quality: str, seconds: float, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "GenerationJob",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"function": "echo", "quality": quality, "params": {"text": name, "seconds": seconds, "steps": 4}},
    }


# ── clusters ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """One in which only restricted pods may run."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted | labels}}


def opted_in(name: str) -> dict[str, Any]:
    return namespace(name, **{names.LABEL_ENABLED: "true"})


def forget_crds(kubectl: Kubectl) -> None:
    """What an earlier installation was asked to leave."""
    kubectl("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=90s", seconds=90)


def everything(kubectl: Kubectl) -> set[str]:
    """All objects of the cluster, of every kind that can be listed: `kind.group/namespace/name`."""
    kinds = set(kubectl("api-resources", "--verbs=list", "-o", "name").split()) - _FLEETING
    columns = "custom-columns=V:.apiVersion,K:.kind,S:.metadata.namespace,N:.metadata.name"
    words = ("get", ",".join(sorted(kinds)), "--all-namespaces", "--ignore-not-found", "--no-headers", "-o", columns)
    found = {_identity(*line.split()) for line in kubectl(*words).splitlines()}
    return {each for each in found if "/kube-node-lease/" not in each}  # the node renews its own


def _identity(version: str, kind: str, space: str, name: str) -> str:
    group = version.rpartition("/")[0]
    return f"{kind}{f'.{group}' if group else ''}/{'' if space == '<none>' else space}/{name}"


def refused(kubectl: Kubectl, plurals: Iterable[str]) -> float:
    """How often the API server has said that somebody may not do something to objects of these kinds."""
    wanted = set(plurals)
    lines = kubectl("get", "--raw", "/metrics", seconds=60).splitlines()
    counted = (line for line in lines if line.startswith("apiserver_request_total{") and 'code="403"' in line)
    return sum(float(line.rpartition(" ")[2]) for line in counted if wanted & {_label(line, "resource")})


def _label(line: str, name: str) -> str:
    return line.partition(f'{name}="')[2].partition('"')[0]
