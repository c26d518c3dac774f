"""Who leads, on a server that keeps one Lease: guarded by resourceVersion, and slow or away when a story wants it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from auteur_operator.cluster import Cluster
from auteur_operator.leader import Leader, LeadershipLost, Times
from tests.support.waiting import eventually

TIMES = Times(duration=1.0, renew_deadline=0.6, retry=0.1)
FOR_LONG = Times(duration=600, renew_deadline=300, retry=0.1)
"""Whoever has to wait for the end of such a Lease does not get it in a test."""


@dataclass
class LeaseServer:
    """As an API server does, for one object: 404 before it is there, 409 for whoever read an older one."""

    lease: dict[str, Any] | None = None
    version: int = 0
    answers_after: float = 0.0
    """Seconds between a write and its answer."""
    is_away: bool = False
    deaf_to: str | None = None
    """The holder whose writes it does not answer."""
    asked_in_vain: int = 0
    writes: list[str] = field(default_factory=list)
    """Holders, in the order they were written."""

    async def get(self, _request: web.Request) -> web.Response:
        if self.is_away:
            return self._nothing()
        if self.lease is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(self.lease)

    async def create(self, request: web.Request) -> web.Response:
        if self.lease is not None:
            return web.json_response({"message": "exists"}, status=409)
        return await self._keep(await request.json())

    async def replace(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if self.is_away or asked["spec"]["holderIdentity"] == self.deaf_to:
            return self._nothing()
        if asked["metadata"]["resourceVersion"] != str(self.version):
            return web.json_response({"message": "changed"}, status=409)
        return await self._keep(asked)

    def _nothing(self) -> web.Response:
        self.asked_in_vain += 1
        return web.json_response({"message": "away"}, status=503)

    async def _keep(self, asked: dict[str, Any]) -> web.Response:
        self.version += 1
        asked["metadata"]["resourceVersion"] = str(self.version)
        self.lease = asked
        self.writes.append(asked["spec"]["holderIdentity"])
        await asyncio.sleep(self.answers_after)
        return web.json_response(asked)


@pytest.fixture
async def server() -> LeaseServer:
    return LeaseServer()


@pytest.fixture
async def cluster(server: LeaseServer) -> AsyncIterator[Cluster]:
    app = web.Application()
    leases = "/apis/coordination.k8s.io/v1/namespaces/studio/leases"
    app.add_routes(
        [web.post(leases, server.create), web.get(f"{leases}/op", server.get), web.put(f"{leases}/op", server.replace)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    wanted = Configuration()
    wanted.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    opened = Cluster(wanted)
    yield opened
    await opened.close()
    await runner.cleanup()


def replica(cluster: Cluster, identity: str, times: Times = TIMES) -> Leader:
    return Leader(cluster, "studio", "op", identity, times)


@contextlib.asynccontextmanager
async def holding(leader: Leader) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(leader.hold())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, LeadershipLost):
            await task


async def test_the_first_who_comes_leads_and_says_so(cluster: Cluster, server: LeaseServer) -> None:
    await replica(cluster, "a").acquire()
    assert server.lease is not None
    spec = server.lease["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 1, 0)


async def test_whoever_leads_renews_and_the_other_waits(cluster: Cluster, server: LeaseServer) -> None:
    leader, other = replica(cluster, "a"), replica(cluster, "b")
    await leader.acquire()
    async with holding(leader) as holds:
        waits = asyncio.create_task(other.acquire())
        await eventually(lambda: len(server.writes) > 1.2 * TIMES.duration / TIMES.retry, "many renewals")
        assert not holds.done()
        assert not waits.done()
        waits.cancel()
    assert set(server.writes) == {"a"}


async def test_a_leader_that_is_silent_is_succeeded_when_its_lease_is_over(
    cluster: Cluster, server: LeaseServer
) -> None:
    await replica(cluster, "a").acquire()
    began = time.monotonic()
    await replica(cluster, "b").acquire()
    assert time.monotonic() - began >= TIMES.duration
    assert server.writes == ["a", "b"]
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


async def test_a_leader_that_leaves_lets_the_next_one_lead_at_once(cluster: Cluster, server: LeaseServer) -> None:
    leader = replica(cluster, "a", FOR_LONG)
    await leader.acquire()
    await leader.release()
    async with asyncio.timeout(60):
        await replica(cluster, "b", FOR_LONG).acquire()
    assert server.writes == ["a", "", "b"]


async def test_a_leader_that_was_succeeded_stops(cluster: Cluster, server: LeaseServer) -> None:
    """It slept, and woke after another had taken the Lease."""
    leader = replica(cluster, "a")
    await leader.acquire()
    await replica(cluster, "b").acquire()
    with pytest.raises(LeadershipLost):
        await leader.hold()
    assert server.writes == ["a", "b"]


async def test_a_leader_that_cannot_renew_stops_before_its_lease_is_over(cluster: Cluster, server: LeaseServer) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    waits = asyncio.create_task(replica(cluster, "b").acquire())
    server.deaf_to = "a"
    with pytest.raises(LeadershipLost, match="renewed in time"):
        await leader.hold()
    assert server.writes == ["a"]
    await waits
    assert server.writes == ["a", "b"]


async def test_a_server_that_is_away_for_a_moment_costs_nobody_the_lead(cluster: Cluster, server: LeaseServer) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    async with holding(leader) as holds:
        server.is_away = True
        await eventually(lambda: server.asked_in_vain == 2, "renewals in vain")
        server.is_away = False
        before = len(server.writes)
        await eventually(lambda: len(server.writes) > before + 5, "renewals")
        assert not holds.done()


async def test_a_renewal_that_is_answered_late_counts_from_when_it_was_written(
    cluster: Cluster, server: LeaseServer
) -> None:
    """Others saw the write, and not when we were told of it: between the two there must not be two leaders."""
    times = Times(duration=1.0, renew_deadline=0.8, retry=0.1)
    leader = replica(cluster, "a", times)
    server.answers_after = 0.6
    leads = asyncio.create_task(leader.acquire())
    await eventually(lambda: server.writes, "the write")
    waits = asyncio.create_task(replica(cluster, "b", times).acquire())
    await leads
    server.deaf_to = "a"
    with pytest.raises(LeadershipLost):
        await leader.hold()
    assert "b" not in server.writes
    await waits


async def test_a_replica_that_comes_back_under_its_name_goes_on(cluster: Cluster, server: LeaseServer) -> None:
    """Its container was restarted: nobody else can have led meanwhile."""
    await replica(cluster, "a", FOR_LONG).acquire()
    async with asyncio.timeout(60):
        await replica(cluster, "a", FOR_LONG).acquire()
    assert server.writes == ["a", "a"]
