"""Who leads, by one Lease guarded by its resourceVersion, on a server that is slow or away when a story wants it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from auteur_operator.cluster import path_of
from auteur_operator.leader import Leader, LeadershipLost, Times
from tests.support.memory_cluster import MemoryCluster
from tests.support.memory_objects import parse
from tests.support.waiting import eventually

LEASE = path_of("coordination.k8s.io/v1", "leases", "studio", "op")
TIMES = Times(duration=1.0, renew_deadline=0.6, retry=0.1)


@pytest.fixture
async def cluster() -> AsyncIterator[MemoryCluster]:
    made = MemoryCluster()
    made.put_namespace("studio")
    yield made
    await made.close()


def written(cluster: MemoryCluster) -> list[dict[str, Any]]:
    """The Lease's spec after each write."""
    return [each["spec"] for each in cluster.objects.history(parse(LEASE)[0])]


def holders(cluster: MemoryCluster) -> list[str]:
    return [spec["holderIdentity"] for spec in written(cluster)]


def replica(cluster: MemoryCluster, identity: str, times: Times = TIMES) -> Leader:
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


async def test_the_first_who_comes_leads_and_says_so(cluster: MemoryCluster) -> None:
    await replica(cluster, "a").acquire()
    spec = written(cluster)[-1]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("a", 1, 0)


async def test_whoever_leads_renews_and_the_other_waits(cluster: MemoryCluster) -> None:
    leader, other = replica(cluster, "a"), replica(cluster, "b")
    await leader.acquire()
    async with holding(leader) as holds:
        waits = asyncio.create_task(other.acquire())
        await eventually(lambda: len(written(cluster)) > 1.2 * TIMES.duration / TIMES.retry, "many renewals")
        assert not holds.done()
        assert not waits.done()
        waits.cancel()
    assert set(holders(cluster)) == {"a"}


async def test_a_leader_that_is_silent_is_succeeded_when_its_lease_is_over(cluster: MemoryCluster) -> None:
    await replica(cluster, "a").acquire()
    began = time.monotonic()
    await replica(cluster, "b").acquire()
    assert time.monotonic() - began >= TIMES.duration
    assert holders(cluster) == ["a", "b"]
    assert written(cluster)[-1]["leaseTransitions"] == 1


async def test_a_leader_that_leaves_lets_the_next_one_lead_at_once(cluster: MemoryCluster) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    await leader.release()
    async with asyncio.timeout(TIMES.duration / 2):
        await replica(cluster, "b").acquire()
    assert holders(cluster) == ["a", "", "b"]


async def test_a_leader_that_was_succeeded_stops(cluster: MemoryCluster) -> None:
    """It slept, and woke after another had taken the Lease."""
    leader = replica(cluster, "a")
    await leader.acquire()
    await replica(cluster, "b").acquire()
    with pytest.raises(LeadershipLost):
        await leader.hold()
    assert holders(cluster) == ["a", "b"]


async def test_a_leader_that_cannot_renew_stops_before_its_lease_is_over(cluster: MemoryCluster) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    began = time.monotonic()
    cluster.go_away()
    with pytest.raises(LeadershipLost, match="renewed in time"):
        await leader.hold()
    assert time.monotonic() - began < TIMES.duration


async def test_a_server_that_is_away_for_a_moment_costs_nobody_the_lead(cluster: MemoryCluster) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    async with holding(leader) as holds:
        cluster.go_away()
        before = len(cluster.calls)
        await eventually(lambda: len(cluster.calls) == before + 2, "renewals in vain")
        cluster.come_back()
        before = len(written(cluster))
        await eventually(lambda: len(written(cluster)) > before + 5, "renewals")
        assert not holds.done()


async def test_a_renewal_that_is_answered_late_counts_from_when_it_was_written(cluster: MemoryCluster) -> None:
    """Others saw the write, and not when we were told of it: between the two there must not be two leaders."""
    leader = replica(cluster, "a")
    cluster.answers_after = 0.4
    await leader.acquire()
    wrote = time.monotonic() - cluster.answers_after
    cluster.go_away()
    with pytest.raises(LeadershipLost):
        await leader.hold()
    assert time.monotonic() - wrote < TIMES.renew_deadline + 0.2


async def test_a_replica_that_comes_back_under_its_name_goes_on(cluster: MemoryCluster) -> None:
    """Its container was restarted: nobody else can have led meanwhile."""
    await replica(cluster, "a").acquire()
    async with asyncio.timeout(TIMES.duration / 2):
        await replica(cluster, "a").acquire()
    assert holders(cluster) == ["a", "a"]


async def test_of_two_that_come_at_once_one_leads(cluster: MemoryCluster) -> None:
    """Both find no Lease, and the server lets one of them make it."""
    contenders = {name: asyncio.create_task(replica(cluster, name).acquire()) for name in "ab"}
    done, waiting = await asyncio.wait(contenders.values(), return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 1)
    assert len(holders(cluster)) == 1
    for task in waiting:
        task.cancel()


async def test_a_lease_that_was_deleted_is_made_again_by_who_holds_it(cluster: MemoryCluster) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    async with holding(leader) as holds:
        await cluster.delete(LEASE)
        await eventually(lambda: len(written(cluster)) > 2, "the Lease to be there again, and renewed")
        assert not holds.done()


async def test_what_cannot_be_given_back_is_left_to_expire(cluster: MemoryCluster) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    cluster.go_away()
    await leader.release()
    cluster.come_back()
    assert holders(cluster) == ["a"]


async def test_who_was_succeeded_does_not_give_the_others_lease_back(cluster: MemoryCluster) -> None:
    leader = replica(cluster, "a")
    await leader.acquire()
    await replica(cluster, "b").acquire()
    await leader.release()
    assert holders(cluster) == ["a", "b"]
