"""The lean watch on a server that forgets, ends its watches or is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from auteur_operator.cluster import path_of
from auteur_operator.reflector import reflect
from tests.support.cluster_suite import Json, secret
from tests.support.memory_cluster import MemoryCluster
from tests.support.waiting import eventually

PATH = path_of("v1", "secrets", "default")


class Mirror:
    """What is there by all that was heard."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.lists = 0

    def listed(self, objects: list[Json], _resource_version: str) -> None:
        self.lists += 1
        self.there = {each["metadata"]["name"] for each in objects}

    def hear(self, changed: Json, *, deleted: bool) -> None:
        name = changed["metadata"]["name"]
        if deleted:
            self.there.discard(name)
        else:
            self.there.add(name)

    async def shows(self, *there: str) -> None:
        await eventually(lambda: self.there == set(there), f"{there}")


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


@contextlib.asynccontextmanager
async def reflecting(cluster: MemoryCluster) -> AsyncIterator[Mirror]:
    mirror = Mirror()
    task = asyncio.create_task(reflect(cluster, PATH, {}, listed=mirror.listed, hear=mirror.hear))
    try:
        yield mirror
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_was_there_and_each_change_is_heard(cluster: MemoryCluster) -> None:
    await cluster.make(PATH, secret("before"))
    async with reflecting(cluster) as mirror:
        await mirror.shows("before")
        await cluster.make(PATH, secret("after"))
        await mirror.shows("before", "after")
        await cluster.delete(f"{PATH}/before")
        await mirror.shows("after")
        assert mirror.lists == 1


async def test_a_watch_that_ends_goes_on_where_it_was(cluster: MemoryCluster) -> None:
    """From the last bookmark, so that a quiet watch needs no list either."""
    async with reflecting(cluster) as mirror:
        await eventually(lambda: ("watch", PATH) in cluster.calls, "the watch")
        cluster.put_namespace("film")
        cluster.bookmark()
        cluster.end_watches()
        for _ in range(5):  # turns of the loop, in which the watch hears of both
            await asyncio.sleep(0)
        cluster.forget_changes()
        await cluster.make(PATH, secret("after"))
        await mirror.shows("after")
        assert mirror.lists == 1


async def test_what_was_missed_is_listed(cluster: MemoryCluster) -> None:
    await cluster.make(PATH, secret("before"))
    async with reflecting(cluster) as mirror:
        await mirror.shows("before")
        cluster.go_away()
        await eventually(lambda: cluster.calls.count(("watch", PATH)) > 1, "a watch in vain")
        cluster.come_back()
        await cluster.delete(f"{PATH}/before")
        await cluster.make(PATH, secret("meanwhile"))
        cluster.forget_changes()
        await mirror.shows("meanwhile")
        assert mirror.lists == 2


async def test_a_server_that_is_away_in_the_beginning_is_asked_again(cluster: MemoryCluster) -> None:
    cluster.go_away()
    async with reflecting(cluster) as mirror:
        await eventually(lambda: cluster.calls.count(("list", PATH)) > 1, "two lists in vain")
        cluster.come_back()
        await cluster.make(PATH, secret("there"))
        await mirror.shows("there")
        assert mirror.lists == 1
