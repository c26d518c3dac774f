"""Operators as child processes, and what they need around them: runners to serve, jobs to run, questions to the API."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auteur_contracts import names
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_standalone.parts import LOOPBACK
from auteur_standalone.ports import free_ports
from tests.support.cluster.control_plane import ready_probe
from tests.support.cluster.kwok import End, ends
from tests.support.servers import ServerProcess

SECRET = "operator-test-secret"


@dataclass(frozen=True)
class Operator:
    """One replica. `home` is its namespace; jobs elsewhere are looked at too."""

    process: ServerProcess
    url: str
    """Of /healthz, /readyz and /metrics."""
    identity: str


def operator(
    kubeconfig: Path,
    folder: Path,
    *,
    home: str,
    nats: NatsSettings,
    store: StoreSettings,
    identity: str = "operator-0",
    **wanted: str,
) -> Operator:
    """Not yet started. `wanted`: more of its settings, `max_active_per_namespace="10000"`."""
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
        "require_archive": "false",
        **wanted,
    }
    env = {f"AUTEUR_OPERATOR__{name.upper()}": value for name, value in settings.items()}
    env |= {
        "KUBECONFIG": str(kubeconfig),
        "AUTEUR_NATS__URL": nats.url,
        "AUTEUR_NATS__USER": nats.user,
        "AUTEUR_NATS__PASSWORD": nats.password.get_secret_value(),
        "AUTEUR_STORE__URL": store.url,
        "AUTEUR_STORE__BUCKET": store.bucket,
        "AUTEUR_STORE__ACCESS_KEY": store.access_key,
        "AUTEUR_STORE__SECRET_KEY": store.secret_key.get_secret_value(),
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
