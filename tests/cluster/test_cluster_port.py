"""The suite that the cluster in memory is held to, on a real control plane."""

from collections.abc import AsyncIterator

import pytest

from auteur_operator.cluster import Cluster, configuration
from tests.support.cluster.control_plane import Cluster as ClusterUnderTest
from tests.support.cluster_suite import ClusterSuite
from tests.support.custom_resources import CRDS


@pytest.fixture(scope="module")
def installed(control_plane: ClusterUnderTest) -> ClusterUnderTest:
    """With our custom resources."""
    control_plane.kubectl("apply", "--server-side", "--filename", str(CRDS))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", str(CRDS))
    return control_plane


@pytest.fixture
async def cluster(installed: ClusterUnderTest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(installed.kubeconfig))
    made = Cluster(await configuration())
    yield made
    await made.close()


class TestClusterPort(ClusterSuite):
    pass
