"""At a steady rate: how long after `apply` a job has its Job, as a watcher of Jobs sees it."""

import asyncio
import time
from typing import Any

from auteur_contracts import names
from tests.bench.cluster.rig import Fresh, Rig, connected, namespace, put, watching
from tests.bench.table import Figure, percentile
from tests.support.cluster import operators

_RATES = (10, 25)
_SECONDS = 30
_PATIENCE = 60


def bench(fresh: Fresh) -> list[Figure]:
    return [figure for rate in _RATES for figure in _at(fresh, rate)]


def _at(fresh: Fresh, rate: int) -> list[Figure]:
    """At the lower rate, too: what is left of it where the API server cannot take so many."""
    with fresh() as rig, rig.bare():
        bare = asyncio.run(measure(rig, "steady", rate * _SECONDS, rate))
    with fresh() as rig, rig.operating():
        took = asyncio.run(measure(rig, "steady", rate * _SECONDS, rate))
    note = f"{len(took):,} jobs at {rate}/s; floor: the bare loop"
    return [
        Figure(f"apply → Job at {rate}/s, p50", percentile(took, 0.5), "ms", floor=percentile(bare, 0.5), note=note),
        Figure(f"apply → Job at {rate}/s, p99", percentile(took, 0.99), "ms", floor=percentile(bare, 0.99)),
    ]


async def measure(rig: Rig, space: str, jobs: int, rate: float) -> list[float]:
    """Milliseconds, one a job, in an open loop: a slow server is not asked less."""
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}

    def on_job(raw: dict[str, Any], now: float) -> None:
        seen.setdefault(raw["metadata"]["labels"][names.LABEL_JOB], now)

    async with connected(rig) as cluster:
        await namespace(cluster, space)
        await put(cluster, operators.runner("tiny", space), "functionrunners")

        async def send(name: str) -> None:
            sent[name] = time.monotonic()
            await put(cluster, operators.job(name, space), "generationjobs")

        async with watching(rig, "batch/v1", "jobs", space, on_job):
            began = time.monotonic()
            sending = []
            for number in range(jobs):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                sending.append(asyncio.create_task(send(f"job-{number}")))
            await asyncio.gather(*sending)
            deadline = time.monotonic() + _PATIENCE
            while len(seen) < jobs:
                assert time.monotonic() < deadline, f"{len(seen)} of {jobs} Jobs were made in time"
                await asyncio.sleep(0.05)
    return [(seen[name] - sent[name]) * 1000 for name in sent]
