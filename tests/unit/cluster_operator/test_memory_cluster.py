"""The cluster in memory, held to what a real one does."""

from collections.abc import AsyncIterator

import pytest

from tests.support.cluster_suite import ClusterSuite
from tests.support.memory_cluster import MemoryCluster


@pytest.fixture
async def cluster() -> AsyncIterator[MemoryCluster]:
    made = MemoryCluster()
    yield made
    await made.close()


@pytest.fixture
def namespace(cluster: MemoryCluster) -> str:
    cluster.put_namespace("film")
    return "film"


class TestMemoryCluster(ClusterSuite):
    pass
