"""The cluster in memory, held to what a real one does."""

from collections.abc import AsyncIterator

import pytest

from auteur_control.errors import Forbidden, Gone, Unreachable
from auteur_operator.cluster import path_of
from tests.support.cluster_suite import ClusterSuite, batch_job, job, jobs_path
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
    """What else is there plays what a real cluster does seldom."""

    async def test_a_server_that_is_away_answers_nobody(self, cluster: MemoryCluster, namespace: str) -> None:
        cluster.go_away()
        with pytest.raises(Unreachable):
            await cluster.make(jobs_path(namespace), job())
        cluster.come_back()
        assert await cluster.find(jobs_path(namespace, "alley")) is None

    async def test_a_call_is_refused_once(self, cluster: MemoryCluster, namespace: str) -> None:
        path = path_of("batch/v1", "jobs", namespace)
        cluster.refuse("create", "jobs", 403, "exceeded quota")
        with pytest.raises(Forbidden, match="exceeded quota"):
            await cluster.make(path, batch_job("alley-1"))
        await cluster.make(path, batch_job("alley-1"))

    async def test_a_pod_runs_ends_and_its_job_with_it(self, cluster: MemoryCluster, namespace: str) -> None:
        made = await cluster.create(path_of("batch/v1", "jobs", namespace), batch_job("alley-1"))
        kubelet = cluster.kubelet
        (pod,) = kubelet.pods(made)
        pod = kubelet.run(pod)
        assert (pod["status"]["phase"], pod["spec"]["nodeName"]) == ("Running", "node-a")
        pod = kubelet.finish(pod, "bye", exit_code=3, log="one\ntwo\nthree")
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "bye"
        assert await cluster.log(namespace, pod["metadata"]["name"], "worker", 2) == ("two", "three")
        ended = await cluster.get(path_of("batch/v1", "jobs", namespace, "alley-1"))
        assert [each["type"] for each in ended["status"]["conditions"]] == ["Failed"]

    async def test_a_namespace_takes_what_is_in_it_along(self, cluster: MemoryCluster, namespace: str) -> None:
        await cluster.make(jobs_path(namespace), job())
        await cluster.delete(path_of("v1", "namespaces", "", namespace))
        assert await cluster.find(jobs_path(namespace, "alley")) is None
        with pytest.raises(Gone):
            await cluster.make(jobs_path(namespace), job())
