"""A control plane with played nodes, NATS and a store, an operator on it; and lean ways to ask and to watch."""

import asyncio
import contextlib
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from auteur_contracts import names
from auteur_control.errors import Exists
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_operator.cluster import Cluster, configuration, path_of
from tests.bench.floors import program, started
from tests.support.cluster import kwok
from tests.support.cluster.control_plane import ControlPlane, Options
from tests.support.cluster.control_plane import running as running_control_plane
from tests.support.cluster.operators import Operator, install_crds, operator
from tests.support.servers import ServerProcess, nats_server, store_server
from tests.support.stack import resident_bytes

HOME = "auteur"
CONNECTIONS = 16


@dataclass
class Rig:
    folder: Path
    control_plane: ControlPlane
    player: kwok.Player
    nats: NatsSettings
    store: StoreSettings
    _operators: int = field(default=0)

    @contextmanager
    def bare(self) -> Iterator[ServerProcess]:
        """While it lasts the floor of the operator works, alone."""
        words = (self.nats.url, self.nats.user, self.nats.password.get_secret_value())
        env = {"KUBECONFIG": str(self.control_plane.kubeconfig)}
        log = self.folder / "bare.log"
        process = program("tests.bench.cluster.bare_operator", *words, log=log, env=env)
        with started(process):
            yield process

    @contextmanager
    def operating(self, **wanted: str) -> Iterator["Running"]:
        """While it lasts an operator leads. It keeps what has finished, so that nothing is deleted in the figures."""
        self._operators += 1
        settings = {"max_active_per_namespace": "100000", "keep_finished_jobs": "1d", **wanted}
        made = operator(
            self.control_plane.kubeconfig,
            self.folder / f"operator-{self._operators}",
            home=HOME,
            nats=self.nats,
            store=self.store,
            wanted=settings,
        )
        made.process.start()
        running = Running(made)
        running.wait_until_leading()
        try:
            yield running
        finally:
            made.process.stop()


@dataclass(frozen=True)
class Running:
    operator: Operator

    def wait_until_leading(self) -> None:
        deadline = time.monotonic() + 60
        while self.metric("auteur_operator_leading") != 1:
            assert time.monotonic() < deadline, "the operator does not lead"
            time.sleep(0.2)

    def rss_mib(self) -> float:
        return resident_bytes(self.operator.process.pid) / 1024**2

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all label values that are not named."""
        text = httpx.get(f"{self.operator.url}/metrics", timeout=30).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} ")) and all(each in line for each in wanted)
        )

    def writes(self) -> float:
        """Requests that changed something, Leases left out."""
        verbs = ("create", "update", "patch", "apply", "delete")
        count = "auteur_operator_api_call_seconds_count"
        return sum(self.metric(count, verb=verb) - self.metric(count, verb=verb, resource="leases") for verb in verbs)


Fresh = Callable[[], AbstractContextManager[Rig]]
"""A rig that nobody has used."""


@contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    nats, nats_settings = nats_server(folder / "nats")
    store, store_settings = store_server(folder / "store")
    with running_control_plane(folder / "control-plane", Options()) as plane, contextlib.ExitStack() as stack:
        for server in (nats, store):
            server.start()
            stack.callback(server.stop)
        install_crds(plane.kubectl)
        plane.kubectl("create", "namespace", HOME)
        nodes = kwok.Shape("fake", count=5, gpus=8)
        player = stack.enter_context(kwok.playing(plane, folder / "kwok", nodes))
        yield Rig(folder, plane, player, nats_settings, store_settings)


@asynccontextmanager
async def connected(rig: Rig) -> AsyncIterator[Cluster]:
    os.environ["KUBECONFIG"] = str(rig.control_plane.kubeconfig)
    wanted = await configuration()
    wanted.connection_pool_maxsize = 4 * CONNECTIONS  # nobody waits for a connection
    made = Cluster(wanted)
    try:
        yield made
    finally:
        await made.close()


async def namespace(cluster: Cluster, name: str) -> None:
    with contextlib.suppress(Exists):
        labels = {names.LABEL_ENABLED: "true"}
        await cluster.create(path_of("v1", "namespaces"), {"metadata": {"name": name, "labels": labels}})
    while await cluster.find(path_of("v1", "serviceaccounts", name, "default")) is None:  # noqa: ASYNC110  # asked for
        await asyncio.sleep(0.05)


async def put(cluster: Cluster, manifest: dict[str, Any], plural: str) -> dict[str, Any]:
    meta = manifest["metadata"]
    return await cluster.create(path_of(manifest["apiVersion"], plural, meta["namespace"]), manifest)


async def count(cluster: Cluster, group_version: str, plural: str, space: str) -> int:
    """Without fetching them."""
    page = await cluster.get(f"{path_of(group_version, plural, space)}?limit=1")
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


async def at_once(work: list[Callable[[], Awaitable[None]]], hands: int = CONNECTIONS) -> None:
    """All of it, so many at a time."""
    waiting = iter(work)

    async def hand() -> None:
        for each in waiting:
            await each()

    await asyncio.gather(*(hand() for _ in range(hands)))


@asynccontextmanager
async def watching(
    rig: Rig, group_version: str, plural: str, space: str, hear: Callable[[dict[str, Any], float], None]
) -> AsyncIterator[None]:
    """Calls `hear(object, time.monotonic())` for each change from now on, in a namespace where nothing is yet."""
    access = await configuration()
    tls = ssl.create_default_context(cafile=access.ssl_ca_cert)
    if access.cert_file:
        tls.load_cert_chain(access.cert_file, access.key_file)
    path = f"{path_of(group_version, plural, space)}?watch=true"
    async with (
        aiohttp.ClientSession(base_url=access.host, connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.get(path, timeout=aiohttp.ClientTimeout(total=None)) as response,
    ):
        assert response.status == 200, await response.text()
        task = asyncio.create_task(_hear_all(response.content, hear))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _hear_all(content: aiohttp.StreamReader, hear: Callable[[dict[str, Any], float], None]) -> None:
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            hear(json.loads(line)["object"], time.monotonic())
