"""Fixtures for tests on a real node: one a session, a namespace of each test's own. What it runs on is made by
`scripts/cluster-tools control-plane node helm` and `scripts/node-tools`; where that was not done, these tests fail and
say so. `pytest -m "not node"` leaves them out.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.cluster import node
from tests.support.cluster.compose import Compose, composing
from tests.support.cluster.helm import Helm
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.node import NodeRig

_HERE = Path(__file__).parent
_FIRST_TIME = 1800  # bases and images are built then


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.node)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_FIRST_TIME))


@pytest.fixture(scope="session")
def node_rig() -> Iterator[NodeRig]:
    """The node of the session. Its images are those of earlier runs too: see `NodeRig.image`."""
    with node.running() as rig:
        yield rig


@pytest.fixture
def kubectl(node_rig: NodeRig) -> Kubectl:
    """As the administrator."""
    return node_rig.kubectl


@pytest.fixture
def helm(node_rig: NodeRig, tmp_path: Path) -> Helm:
    """On the node's cluster, as the administrator."""
    return Helm(tmp_path / "helm", node_rig.kubeconfig, node_rig.prefix)


class Composing(Protocol):
    """What the fixture `compose` is."""

    def __call__(self, file: Path, environment: Mapping[str, str] | None = None) -> Compose: ...


@pytest.fixture
def compose() -> Iterator[Composing]:
    """Makes a `Compose` of a file, with the variables that the file asks for. Nothing is left of it after the test."""
    with ExitStack() as stack:

        def opened(file: Path, environment: Mapping[str, str] | None = None) -> Compose:
            return stack.enter_context(composing(file, environment))

        yield opened


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A fresh one, in which only restricted pods may run; deleted afterwards, without waiting for it."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    kubectl.within(name)("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def here(kubectl: Kubectl, namespace: str) -> Kubectl:
    """As the administrator, in the test's namespace."""
    return kubectl.within(namespace)
