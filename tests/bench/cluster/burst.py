"""A burst of jobs: how soon each has its Job, how soon all are finished, and what that costs; beside a bare loop.

The bare loop sees the same watch events, makes the same calls with the same client, on the same rig, and decides
nothing: what is left of its rate with the operator, and what comes to its CPU, is the operator's price.
"""

import asyncio
import time
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple

from auteur_contracts import names
from auteur_operator.cluster import Cluster, path_of
from tests.bench.cluster.rig import Fresh, Rig, at_once, connected, count, namespace, put
from tests.bench.table import Figure
from tests.support.cluster import operators
from tests.support.stack import cpu_seconds

_RUNS = 3
_PATIENCE = 300


class Burst(NamedTuple):
    made: float
    """Jobs a second, until each had its Job."""
    finished: float
    cpu: float
    """Milliseconds a job, of the process that did it."""


def bench(fresh: Fresh, jobs: int = 2000, runs: int = _RUNS) -> list[Figure]:
    bare: list[Burst] = []
    ours: list[Burst] = []
    writes: list[float] = []
    for run in range(1, runs + 1):
        with fresh() as rig, rig.bare() as loop:
            bare.append(_burst(rig, loop.pid, jobs))
        print(f"  bare loop {run}: {bare[-1].made:.0f}/s to Job, {bare[-1].finished:.0f}/s to Finished", flush=True)
        with fresh() as rig, rig.operating() as running:
            before = running.writes()
            ours.append(_burst(rig, running.operator.process.pid, jobs))
            writes.append((running.writes() - before) / jobs)
        print(f"  operator  {run}: {ours[-1].made:.0f}/s to Job, {ours[-1].finished:.0f}/s to Finished", flush=True)
    made, finished, cpu = (median(values) for values in zip(*ours, strict=True))
    bare_made, bare_finished, bare_cpu = (median(values) for values in zip(*bare, strict=True))
    note = f"median of {runs}, {jobs:,} jobs, each on a control plane of its own with kwok; floor: the bare loop"
    return [
        Figure("to Job created", made, "jobs/s", 0.9, floor=bare_made, at_most=False, note=note),
        Figure("to Finished", finished, "jobs/s", 0.9, floor=bare_finished, at_most=False),
        Figure("CPU", cpu, "ms/job", 1.3, floor=bare_cpu, note="3 writes, 3 facts, all watch events"),
        Figure("writes", median(writes), "/job", note="1 Job, 2 statuses"),
    ]


def _burst(rig: Rig, pid: int, jobs: int) -> Burst:
    before = cpu_seconds(pid)
    made, finished = asyncio.run(_run(rig, "burst", jobs))
    return Burst(jobs / made, jobs / finished, (cpu_seconds(pid) - before) * 1000 / jobs)


async def _run(rig: Rig, space: str, jobs: int) -> tuple[float, float]:
    """Seconds until every job has its Job, and until every job is finished."""
    async with connected(rig) as cluster:
        await namespace(cluster, space)
        await put(cluster, operators.runner("tiny", space), "functionrunners")
        manifests = [operators.job(f"job-{number}", space) for number in range(jobs)]
        began = time.monotonic()
        creating = asyncio.create_task(
            at_once([lambda each=each: _put_away(cluster, each) for each in manifests])  # type: ignore[misc]
        )
        while await count(cluster, "batch/v1", "jobs", space) < jobs:
            assert time.monotonic() < began + _PATIENCE, "the Jobs were not made in time"
            await asyncio.sleep(0.1)
        made = time.monotonic() - began
        await creating
        finished = await _all_finished(cluster, space, jobs, began)
    return made, finished


async def _put_away(cluster: Cluster, manifest: dict[str, Any]) -> None:
    await put(cluster, manifest, "generationjobs")


async def _all_finished(cluster: Cluster, space: str, jobs: int, began: float) -> float:
    """Seconds from `began` to the last completion, by what the statuses say: asking for it costs little then."""
    wall = time.time() - (time.monotonic() - began)
    while True:
        items, _ = await cluster.list(path_of(names.API_VERSION, "generationjobs", space))
        ends = [item.get("status", {}).get("completionTime") for item in items]
        done = [end for end in ends if end]
        if len(done) == jobs:
            phases = {item["status"]["phase"] for item in items}
            assert phases == {"Succeeded"}, phases
            return datetime.fromisoformat(max(done)).timestamp() - wall
        assert time.monotonic() < began + _PATIENCE, f"{len(done)} of {jobs} finished in time"
        await asyncio.sleep(max(1.0, (jobs - len(done)) / 200))
