"""The API of a cluster over plain HTTP, for tests that ask more of it, or faster, than kubectl does."""

import base64
import ssl
from pathlib import Path
from typing import Any

import httpx
import yaml


def connect(kubeconfig: Path, *, connections: int = 16) -> httpx.AsyncClient:
    """A client with the kubeconfig's identity; paths are those of the API, such as `/api/v1/namespaces`."""
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    if "client-certificate-data" in user:
        # Python reads certificates of its own from files only.
        pair = kubeconfig.with_suffix(".pem")
        pair.touch(mode=0o600)
        pair.write_text(_decoded(user["client-key-data"]) + _decoded(user["client-certificate-data"]))
        context.load_cert_chain(pair)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(
        base_url=cluster["server"], verify=context, headers=headers, limits=limits, timeout=30, trust_env=False
    )


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


async def items(client: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, Any]]:
    """What a list holds."""
    answer = await client.get(path, params=query)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["items"]
    return found
