"""Fixtures for tests on a Kubernetes: one control plane a session, its nodes played; a namespace of each test's own.

`AUTEUR_TEST_KUBECONFIG` names a cluster to use instead; the current context of whoever runs the tests is never used.
What the rig runs on is built by `scripts/cluster-tools`; where that was not done, these tests fail and say so.
"""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from auteur_contracts import names, subjects
from auteur_kit.bus import Bus
from auteur_kit.settings import StoreSettings
from tests.support.cluster import api as cluster_api
from tests.support.cluster.control_plane import Cluster, ControlPlane, Options, running
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.kwok import Player, Shape, playing
from tests.support.cluster.operators import Here, Operated, operating
from tests.support.scripted import Facts

FAKES = Shape("fake", count=5, gpus=8, gpu_mib=24_576)
"""The nodes that the session's cluster has."""


@pytest.fixture(scope="session")
def _bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    if existing := os.environ.get("AUTEUR_TEST_KUBECONFIG"):
        yield Cluster.existing(Path(existing), folder)
        return
    with running(folder / "control-plane", Options(audit=True)) as made:
        yield made


@pytest.fixture(scope="session")
def fakes(_bare_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """Plays the nodes of FAKES in the session's cluster. A test may add nodes of its own, and removes them."""
    with playing(_bare_cluster, tmp_path_factory.mktemp("kwok") / "kwok", FAKES) as player:
        yield player


@pytest.fixture(scope="session")
def control_plane(_bare_cluster: Cluster, fakes: Player) -> Cluster:
    """The cluster of the session, which nobody kills, with nodes that play. RBAC is on: see `Cluster.service_account`.
    It has no DRA driver, unless a test plays one: see `Player.devices`.
    """
    return _bare_cluster


@pytest.fixture
def own_control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of the test's own, with an audit log, to be killed. It has no nodes: see `playing`."""
    with running(tmp_path / "control-plane", Options(audit=True)) as made:
        yield made


@pytest.fixture
def kubectl(control_plane: Cluster) -> Kubectl:
    """As the administrator of the session's cluster."""
    return control_plane.kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A fresh one, in which pods can be made at once; deleted afterwards, without waiting for it."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    kubectl.within(name)("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


# ── an operator at work ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def operated(
    request: pytest.FixtureRequest,
    control_plane: Cluster,
    store_server_settings: StoreSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operated]:
    """One operator for all tests of a module, whose OPERATOR holds settings of its own."""
    wanted: dict[str, str] = getattr(request.module, "OPERATOR", {})
    with operating(control_plane, tmp_path_factory.mktemp("operator"), store_server_settings, wanted=wanted) as made:
        yield made


@pytest.fixture
async def api(control_plane: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    async with cluster_api.connect(control_plane.kubeconfig) as client:
        yield client


@pytest.fixture
async def outside(kubectl: Kubectl, namespace: str, api: httpx.AsyncClient) -> Here:
    """The test's own namespace, which was not let in."""
    return Here(namespace, kubectl.within(namespace), api)


@pytest.fixture
async def here(outside: Here) -> Here:
    """The test's own namespace, which runs jobs."""
    outside.kubectl("label", "namespace", outside.name, f"{names.LABEL_ENABLED}=true")
    return outside


@pytest.fixture
async def operated_bus(operated: Operated) -> AsyncIterator[Bus]:
    """The operator's NATS server."""
    async with Bus.connect(operated.nats, name="test") as connected:
        yield connected


@pytest.fixture
async def facts(operated_bus: Bus) -> Facts:
    """What is announced from now on."""
    heard = Facts()
    await operated_bus.listen(subjects.EVENTS, heard.hear)
    return heard
