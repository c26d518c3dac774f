"""The locks of jobs: one writer each, and none is kept for a job that nobody wants."""

import asyncio
from typing import cast

import pytest

from auteur_operator.cluster import Cluster
from auteur_operator.job_cache import JobCache
from auteur_operator.resources import ClusterJobs, job_path
from tests.support.waiting import eventually
from tests.unit.cluster_operator.making import job

ALLEY, BAY = ("film", "alley"), ("film", "bay")


@pytest.fixture
def jobs() -> ClusterJobs:
    """Without an API server: what is held is nobody else's business."""
    nobody = cast("Cluster", None)
    return ClusterJobs(nobody, JobCache())


async def test_one_at_a_time_decides_about_a_job_and_others_about_theirs(jobs: ClusterJobs) -> None:
    order: list[str] = []
    go = asyncio.Event()

    async def decide(name: str, key: tuple[str, str]) -> None:
        async with jobs.hold(key):
            order.append(f"{name} begins")
            await go.wait()
            order.append(f"{name} ends")

    async with asyncio.TaskGroup() as group:
        for name, key in (("first", ALLEY), ("second", ALLEY), ("other", BAY)):
            group.create_task(decide(name, key))
        await eventually(lambda: len(order) == 2, "two that hold something")
        assert order == ["first begins", "other begins"]
        go.set()
    assert order.index("first ends") < order.index("second begins")
    assert jobs._locks == {}


async def test_a_lock_is_forgotten_with_the_last_who_wants_it(jobs: ClusterJobs) -> None:
    async with jobs.hold(ALLEY):
        waits = asyncio.create_task(_hold(jobs))
        await eventually(lambda: jobs._locks[ALLEY][1] == 2, "one who waits")
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert jobs._locks[ALLEY][1] == 1
    assert jobs._locks == {}


async def _hold(jobs: ClusterJobs) -> None:
    async with jobs.hold(ALLEY):
        raise AssertionError("two at once")


async def test_a_decision_that_fails_gives_the_lock_back(jobs: ClusterJobs) -> None:
    with pytest.raises(RuntimeError, match="no"):
        async with jobs.hold(ALLEY):
            raise RuntimeError("no")
    async with asyncio.timeout(1), jobs.hold(ALLEY):
        pass
    assert jobs._locks == {}


async def test_what_has_not_changed_is_not_written(jobs: ClusterJobs) -> None:
    one = job()
    assert await jobs.update(one, one.status.model_copy()) is one


async def test_of_a_job_that_is_not_there_nothing_is_decided(jobs: ClusterJobs) -> None:
    assert await jobs.change(ALLEY, lambda found: found.status) is None


def test_where_a_job_lies() -> None:
    assert job_path(ALLEY) == "/apis/auteur.studio/v1alpha1/namespaces/film/generationjobs/alley"
    assert job_path(ALLEY, "status").endswith("/generationjobs/alley/status")
