"""The API server: the only file that knows the Kubernetes client. Objects go in and out as plain JSON; what goes wrong
is one of the control plane's errors.
"""

import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
import kopf
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from auteur_contracts.names import MANAGER
from auteur_control.errors import Conflicted, Exists, Forbidden, Gone, Invalid, ResourceError, Unreachable

Json = dict[str, Any]
_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
_BRIEF = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{_JSON}"
"""Asks the server to answer a write with the metadata only, not with the whole object."""
_PAGE = 500


def path_of(group_version: str, plural: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    """`path_of("batch/v1", "jobs", "film", "alley-1")` → `/apis/batch/v1/namespaces/film/jobs/alley-1`."""
    root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
    space = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{space}/{plural}{f'/{name}' if name else ''}{f'/{sub}' if sub else ''}"


async def configuration() -> Configuration:
    """In a pod that of its service account; elsewhere that of `KUBECONFIG`'s current context."""
    wanted = Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(client_configuration=wanted)  # type: ignore[no-untyped-call]
    else:
        # The file is passed on, because the library reads the variable only when it is imported.
        file = os.environ.get("KUBECONFIG")
        await config.load_kube_config(file, client_configuration=wanted, persist_config=False)  # type: ignore[no-untyped-call]
    wanted.connection_pool_maxsize = 64
    return wanted


async def kopf_login(wanted: Configuration) -> kopf.ConnectionInfo:
    """The same credentials, as Kopf wants them."""
    token = await wanted.get_api_key_with_prefix("BearerToken", alias="authorization")
    scheme, _, secret = (token or "").partition(" ")
    return kopf.ConnectionInfo(
        server=wanted.host,
        ca_path=wanted.ssl_ca_cert,
        insecure=not wanted.verify_ssl,
        scheme=scheme.capitalize() if token else None,
        token=secret if token else None,
        certificate_path=wanted.cert_file,
        private_key_path=wanted.key_file,
    )


class Cluster:
    """A client. `count(verb, plural, seconds)` is called after every call."""

    def __init__(self, wanted: Configuration, count: Callable[[str, str, float], None] = lambda *_: None) -> None:
        self._configuration = wanted
        self._api = ApiClient(configuration=wanted)
        self._count = count
        connector = aiohttp.TCPConnector(limit=wanted.connection_pool_maxsize, ssl=self._api.rest_client.ssl_context)
        agent = {"User-Agent": MANAGER}
        self._session = aiohttp.ClientSession(
            base_url=wanted.host, connector=connector, timeout=_TIMEOUT, headers=agent
        )

    async def close(self) -> None:
        await self._session.close()
        await self._api.close()  # type: ignore[no-untyped-call]

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, path: str) -> Json:
        return await self._call("get", path)

    async def find(self, path: str) -> Json | None:
        try:
            return await self.get(path)
        except Gone:
            return None

    async def list(self, path: str, **query: str) -> tuple[list[Json], str]:
        """All pages, and the resourceVersion that they show."""
        items: list[Json] = []
        more = ""
        while True:
            asked = {**query, "limit": str(_PAGE), **({"continue": more} if more else {})}
            page = await self._call("list", path, query=asked)
            items += page["items"]
            more = page["metadata"].get("continue", "")
            if not more:
                return items, page["metadata"]["resourceVersion"]

    async def log(self, namespace: str, pod: str, container: str, lines: int) -> tuple[str, ...]:
        """The last lines of a container's log; empty where there is no log."""
        path = path_of("v1", "pods", namespace, pod, "log")
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(64 * 1024)}
        try:
            text = await self._text("get", path, query=query)
        except (Gone, Invalid):
            return ()
        return tuple(text.splitlines()[-lines:])

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, path: str, manifest: Json) -> Json:
        """Raises Exists when the name is taken."""
        return await self._call("create", path, manifest)

    async def make(self, path: str, manifest: Json) -> str:
        """As `create`, with no more of the made object in the answer than its uid."""
        made = await self._call("create", path, manifest, accept=_BRIEF)
        return str(made["metadata"]["uid"])

    async def replace(self, path: str, manifest: Json) -> str:
        """Returns its new resourceVersion. Raises Conflicted unless it is still at the manifest's."""
        put = await self._call("update", path, manifest, accept=_BRIEF)
        return str(put["metadata"]["resourceVersion"])

    async def merge(self, path: str, patch: Json) -> Json:
        return await self._call("patch", path, patch, content=_MERGE)

    async def apply(self, path: str, manifest: Json) -> Json:
        """Server-side apply: the operator owns the fields that the manifest names."""
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._call("apply", path, manifest, content=_APPLY, query=query)

    async def delete(self, path: str, *, uid: str = "") -> None:
        """Dependents are collected in the background. An object that is already gone counts as deleted."""
        body: Json = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("delete", path, body)
        except (Gone, Conflicted):  # 409: by now another object has its name
            return

    # ── one call ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(
        self,
        verb: str,
        path: str,
        body: Json | None = None,
        *,
        content: str = _JSON,
        accept: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        answer = json.loads(await self._text(verb, path, body, content=content, accept=accept, query=query))
        if not isinstance(answer, dict):
            raise Unreachable(f"{verb} {path}", "the answer is no object")
        return answer

    async def _text(
        self,
        verb: str,
        path: str,
        body: Json | None = None,
        *,
        content: str = _JSON,
        accept: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> str:
        began = time.monotonic()
        asked = f"{verb} {path}"
        url = f"{path}?{urlencode(query)}" if query else path
        headers = {"Content-Type": content, "Accept": accept, **await self._authorization()}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            async with self._session.request(_METHODS[verb], url, data=data, headers=headers) as response:
                text = await response.text()
                if response.status >= 400:
                    raise _error(asked, verb, response.status, text)
                return text
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            raise Unreachable(asked, str(error) or type(error).__name__) from error
        finally:
            self._count(verb, _plural(path), time.monotonic() - began)

    async def _authorization(self) -> dict[str, str]:
        """Asked for at each call, because the kubelet rotates the file that a token may come from."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"Authorization": token if " " in token else f"Bearer {token}"} if token else {}


_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "apply": "PATCH",
    "delete": "DELETE",
}


def _plural(path: str) -> str:
    """The resource that a path leads to, for a metric's label: as many values as kinds, not as many as objects."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest and rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    return f"{rest[0]}/{rest[2]}" if len(rest) > 2 else rest[0]


def _error(asked: str, verb: str, status: int, text: str) -> ResourceError:
    try:
        said = str(json.loads(text).get("message") or text)
    except (ValueError, AttributeError):
        said = text
    said = said[:1000]
    match status:
        case 404 | 410:
            return Gone(asked, said)
        case 409:
            return (Exists if verb == "create" else Conflicted)(asked, said)
        case 403:
            return Forbidden(asked, said)
        case 400 | 422 | 413:
            return Invalid(asked, said)
        case _:
            return Unreachable(asked, f"{status}: {said}")
