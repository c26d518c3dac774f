"""Many live jobs that wait: what each costs the operator in memory, and whether a new one is slower for it."""

import asyncio
import time
from typing import Any

from auteur_operator.cluster import Cluster
from tests.bench.cluster import latency
from tests.bench.cluster.rig import Fresh, Rig, Running, at_once, connected, namespace, put
from tests.bench.table import Figure, percentile
from tests.support.cluster import operators

_FEW, _MANY = 1_000, 20_000
_PROBES = 600
_RATE = 20.0
_PATIENCE = 600


def bench(fresh: Fresh) -> list[Figure]:
    with fresh() as rig:
        return _bench(rig)


def _bench(rig: Rig) -> list[Figure]:
    with rig.operating() as running:
        bare = running.rss_mib()
        asyncio.run(_fill(rig, running, 0, _FEW))
        few = percentile(asyncio.run(latency.measure(rig, "probe-few", _PROBES, _RATE)), 0.5)
        few_rss = running.rss_mib()
        asyncio.run(_fill(rig, running, _FEW, _MANY))
        many = percentile(asyncio.run(latency.measure(rig, "probe-many", _PROBES, _RATE)), 0.5)
        many_rss = running.rss_mib()
    each = (many_rss - few_rss) * 1024 / (_MANY - _FEW)
    return [
        Figure("RSS of an idle operator", bare, "MiB"),
        Figure(f"RSS with {_MANY:,} live jobs", many_rss, "MiB"),
        Figure("RSS per live job", each, "KiB"),
        Figure(f"apply → Job, p50 at {_MANY:,}", many, "ms", 1.2, floor=few, note=f"floor: at {_FEW:,}"),
    ]


async def _fill(rig: Rig, running: Running, first: int, until: int) -> None:
    """Suspended ones: accepted, planned, and then nothing happens to them."""
    async with connected(rig) as cluster:
        await namespace(cluster, "crowd")
        if not first:
            await put(cluster, operators.runner("tiny", "crowd"), "functionrunners")
        jobs = [operators.job(f"live-{number}", "crowd", suspend=True) for number in range(first, until)]
        await at_once([lambda each=each: _put_away(cluster, each) for each in jobs])  # type: ignore[misc]
        deadline = time.monotonic() + _PATIENCE
        while (
            running.metric("auteur_operator_jobs", state="unfinished") < until
            or running.metric("auteur_operator_queue_depth", queue="jobs") > 0
        ):
            assert time.monotonic() < deadline, "the operator did not take them in"
            await asyncio.sleep(0.5)


async def _put_away(cluster: Cluster, manifest: dict[str, Any]) -> None:
    await put(cluster, manifest, "generationjobs")
