"""Operators as child processes, and what they need around them: runners to serve, jobs to run, questions to the API."""

import asyncio
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from auteur_contracts import names
from auteur_contracts.crds import DECLARATIONS
from auteur_contracts.resources import GenerationJob
from auteur_contracts.vocabulary import ConditionType
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from auteur_operator.cluster import path_of
from auteur_standalone.servers import LOOPBACK
from tests.support.cluster.api import items
from tests.support.cluster.control_plane import Cluster, ready_probe
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.kwok import End, ends
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess, nats_server, variables_of
from tests.support.waiting import eventually

SECRET = "operator-test-secret"


@dataclass(frozen=True)
class Operator:
    """One replica. `home` is its namespace; jobs elsewhere are looked at too."""

    process: ServerProcess
    url: str
    """Of /healthz, /readyz and /metrics."""
    identity: str

    def is_alive(self) -> bool:
        return httpx.get(f"{self.url}/healthz").is_success


def operator(
    kubeconfig: Path,
    folder: Path,
    *,
    home: str,
    nats: NatsSettings,
    store: StoreSettings,
    identity: str = "operator-0",
    wanted: Mapping[str, str] | None = None,
) -> Operator:
    """Not yet started. `wanted`: more of its settings, `{"max_active_per_namespace": "10000"}`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_ports(1)[0]
    settings = {
        "namespace": home,
        "identity": identity,
        "secret": SECRET,
        "worker_nats_url": nats.url,
        "worker_nats_user": nats.user,
        "worker_nats_password": nats.password.get_secret_value(),
        "http_host": LOOPBACK,
        "http_port": str(port),
        **(wanted or {}),
    }
    env = {f"AUTEUR_OPERATOR__{name.upper()}": value for name, value in settings.items()}
    env |= {
        "KUBECONFIG": str(kubeconfig),
        **variables_of(nats, store),
        "AUTEUR_LOG__LEVEL": os.environ.get("AUTEUR_TEST_LOG_LEVEL", "info"),
    }
    url = f"http://{LOOPBACK}:{port}"
    argv = (sys.executable, "-m", "auteur_operator")
    process = ServerProcess(identity, argv, folder / f"{identity}.log", ready_probe(f"{url}/readyz"), env=env)
    return Operator(process, url, identity)


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string", "minLength": 1},
        "seed": {"type": "integer", "minimum": 0},
        "steps": {"type": "integer", "minimum": 1, "maximum": 500},
    },
}
COLD = {"min": 0, "max": 0, "idleSeconds": 0}


def runner(
    name: str,
    namespace: str,
    *,
    end: End = End.SUCCEED,
    tiers: Sequence[dict[str, Any]] = (),
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A FunctionRunner whose pods end as told, in the tier `standard`, without warm workers."""
    message = "report" if end is End.SUCCEED else ""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "FunctionRunner",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "image": "registry.invalid/runner:1",
            "functions": [{"name": "text-to-image", "paramsSchema": SCHEMA}],
            "tiers": list(tiers) or [{"quality": "standard", "pipeline": "tiny", "warm": COLD}],
            "podAnnotations": ends(end, message=message) | (annotations or {}),
            **spec,
        },
    }


def job(name: str, namespace: str, *, runner: str | None = None, **spec: Any) -> dict[str, Any]:
    asked = {"function": "text-to-image", "params": {"prompt": "a red star"}, **spec}
    if runner is not None:
        asked["runner"] = runner
    return {
        "apiVersion": names.API_VERSION,
        "kind": "GenerationJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": asked,
    }


# ── a cluster with an operator at work ────────────────────────────────────────────────────────────────────────────────

CRDS = Path(__file__).parents[3] / "manifests" / "crds"


@dataclass(frozen=True)
class Operated:
    """What a module of tests shares: one operator, with a NATS server and a bucket of its own."""

    cluster: Cluster
    operator: Operator
    home: str
    """The operator's namespace: what runners it has, every namespace may use."""
    nats: NatsSettings
    store: StoreSettings
    folder: Path

    def replica(self, identity: str, kubeconfig: Path | None = None, **wanted: str) -> Operator:
        """Another one for the same namespace, not yet started."""
        chosen = kubeconfig or self.cluster.kubeconfig
        return operator(
            chosen, self.folder, home=self.home, nats=self.nats, store=self.store, identity=identity, wanted=wanted
        )


def install_crds(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)
    kubectl.learn(*(declaration.name for declaration in DECLARATIONS))


@contextmanager
def operating(
    cluster: Cluster, folder: Path, store: StoreSettings, *, start: bool = True, wanted: Mapping[str, str] | None = None
) -> Iterator[Operated]:
    """It leads when this returns, unless it is not to be started here."""
    kubectl, home = cluster.kubectl, f"home-{uuid.uuid4().hex[:8]}"
    install_crds(kubectl)
    kubectl("create", "namespace", home)
    bucket = store.model_copy(update={"bucket": home})
    asyncio.run(_make_bucket(bucket))
    nats, nats_settings = nats_server(folder / "nats")
    nats.start()
    made = operator(cluster.kubeconfig, folder, home=home, nats=nats_settings, store=bucket, wanted=wanted)
    try:
        if start:
            made.process.start()
        yield Operated(cluster, made, home, nats_settings, bucket, folder)
    finally:
        made.process.stop()
        nats.stop()
        kubectl("delete", "namespace", home, "--wait=false")


async def _make_bucket(settings: StoreSettings) -> None:
    store = Store(settings)
    try:
        await store.ensure_bucket()
    finally:
        store.close()


# ── questions to the API ──────────────────────────────────────────────────────────────────────────────────────────────

_PLURALS = {
    "GenerationJob": (names.API_VERSION, "generationjobs"),
    "FunctionRunner": (names.API_VERSION, "functionrunners"),
    "Job": ("batch/v1", "jobs"),
    "Deployment": ("apps/v1", "deployments"),
    "Pod": ("v1", "pods"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "LimitRange": ("v1", "limitranges"),
    "ResourceClaimTemplate": ("resource.k8s.io/v1", "resourceclaimtemplates"),
    "ResourceClaim": ("resource.k8s.io/v1", "resourceclaims"),
}


@dataclass(frozen=True)
class Here:
    """One namespace: what is in it, and until when."""

    name: str
    kubectl: Kubectl
    api: httpx.AsyncClient

    async def make(self, *resources: dict[str, Any]) -> None:
        """Sooner than kubectl does."""
        for each in resources:
            answer = await self.api.post(self.path(each["kind"]), json=each)
            assert answer.is_success, answer.text

    def path(self, kind: str, name: str = "") -> str:
        return path_of(*_PLURALS[kind], namespace=self.name, name=name)

    async def find(self, kind: str, name: str) -> dict[str, Any] | None:
        answer = await self.api.get(self.path(kind, name))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def list(self, kind: str, **labels: str) -> list[dict[str, Any]]:
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        return await items(self.api, self.path(kind), labelSelector=wanted)

    async def merge(self, kind: str, name: str, patch: dict[str, Any], sub: str = "") -> None:
        path = self.path(kind, name) + (f"/{sub}" if sub else "")
        answer = await self.api.patch(path, json=patch, headers={"Content-Type": "application/merge-patch+json"})
        assert answer.is_success, answer.text

    async def delete(self, kind: str, name: str) -> None:
        answer = await self.api.delete(self.path(kind, name), params={"propagationPolicy": "Background"})
        assert answer.is_success, answer.text

    async def job(self, name: str) -> GenerationJob | None:
        raw = await self.find("GenerationJob", name)
        return None if raw is None else GenerationJob.model_validate(raw)

    async def until(
        self,
        name: str,
        check: Callable[[GenerationJob], bool] = lambda _: True,
        *,
        seconds: float = 60,
        **says: str,
    ) -> GenerationJob:
        """The job, once its conditions are so: `Finished="True/Cancelled"`."""
        seen: GenerationJob | None = None

        async def as_said() -> GenerationJob | None:
            nonlocal seen
            seen = await self.job(name)
            if seen is None or not check(seen) or told(seen, says) != says:
                return None
            return seen

        try:
            return await eventually(as_said, f"job {name} to be {says or 'as wanted'}", seconds=seconds)
        except AssertionError as error:
            shown = seen.status.model_dump_json(indent=1, exclude_defaults=True, exclude={"plan"}) if seen else None
            raise AssertionError(f"{error}; it is {shown}") from None

    async def running_pod(self, job: str, attempt: int = 1) -> dict[str, Any]:
        """The attempt's, once it runs."""

        async def running() -> dict[str, Any] | None:
            found = await self.list("Pod", **{names.LABEL_JOB: job, names.LABEL_ATTEMPT: str(attempt)})
            return next((pod for pod in found if pod["status"]["phase"] == "Running"), None)

        return await eventually(running, f"attempt {attempt} of {job} to run")

    async def until_gone(self, kind: str, name: str, seconds: float = 60) -> None:
        async def is_gone() -> bool:
            return await self.find(kind, name) is None

        await eventually(is_gone, f"{kind} {name} to be gone", seconds=seconds)


def told(job: GenerationJob, kinds: Iterable[str]) -> dict[str, str]:
    """What its conditions of these kinds say, as status/reason."""
    found = {kind: job.status.condition(ConditionType(kind)) for kind in kinds}
    return {kind: f"{each.status.value}/{each.reason.value}" if each else "" for kind, each in found.items()}


def message(job: GenerationJob, kind: str) -> str:
    condition = job.status.condition(ConditionType(kind))
    return condition.message if condition else ""


_DRAWN = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "TIME"),
    (re.compile(r"(?<=-\d-)[a-z0-9]{5}\b"), "XXXXX"),
    (re.compile(r"(Resource Version: +)\d+"), r"\1VERSION"),
    (re.compile(r"(Seed: +)\d+"), r"\1SEED"),
    (re.compile(r"(Trace Id: +)[0-9a-f]{32}"), r"\1TRACE"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "DIGEST"),
    (re.compile(r"^([^:\n]*)\b\d+m?s$", re.MULTILINE), r"\1AGE"),  # the last column of a table
)


def masked(text: str, namespace: str) -> str:
    """What kubectl printed, without what is drawn anew each time."""
    text = text.replace(namespace, "NAMESPACE")
    for pattern, word in _DRAWN:
        text = pattern.sub(word, text)
    return text
