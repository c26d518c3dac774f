"""A burst of jobs: how soon each has its Job, how soon all are finished; and what a bare loop needs for the same.

The bare loop makes the same creates and the same number of status writes, with the same client, on the same rig, and
decides nothing: what is left of its rate with the operator is the operator's price.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import Any

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, GenerationJob, Plan
from auteur_lifecycle.capabilities import CLUSTER
from auteur_lifecycle.resolve import resolve
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.desired import Dependencies, attempt_job
from tests.bench.cluster.rig import Fresh, Rig, at_once, connected, count, job_path, namespace, put, watching
from tests.bench.table import Figure
from tests.support.cluster import operators

_RUNS = 3
_PATIENCE = 300


def bench(fresh: Fresh, jobs: int = 5000, runs: int = _RUNS) -> list[Figure]:
    bare: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    bare_cpu: list[float] = []
    cpu: list[float] = []
    writes: list[float] = []
    for run in range(1, runs + 1):
        with fresh() as rig:
            began_cpu = time.process_time()
            bare.append(asyncio.run(_bare(rig, "bare", jobs)))
            bare_cpu.append((time.process_time() - began_cpu) * 1000 / jobs)
        print(f"  bare loop {run}: {bare[-1][0]:.0f}/s to Job, {bare[-1][1]:.0f}/s to Finished", flush=True)
        with fresh() as rig, rig.operating() as running:
            began_cpu, began_writes = running.cpu_seconds(), running.writes()
            ours.append(asyncio.run(_ours(rig, "burst", jobs)))
            cpu.append((running.cpu_seconds() - began_cpu) * 1000 / jobs)
            writes.append((running.writes() - began_writes) / jobs)
        print(f"  operator  {run}: {ours[-1][0]:.0f}/s to Job, {ours[-1][1]:.0f}/s to Finished", flush=True)
    made_bare, finished_bare = (statistics.median(values) for values in zip(*bare, strict=True))
    made, finished = (statistics.median(values) for values in zip(*ours, strict=True))
    note = f"median of {runs}, {jobs:,} jobs, each on a control plane of its own with kwok"
    return [
        Figure("bare loop: to Job created", made_bare, "jobs/s", note=note),
        Figure("operator: to Job created", made, "jobs/s"),
        Figure("… of the bare loop", made / made_bare, "×", goal=0.9, at_most=False),
        Figure("bare loop: to Finished", finished_bare, "jobs/s"),
        Figure("operator: to Finished", finished, "jobs/s"),
        Figure("… of the bare loop", finished / finished_bare, "×", goal=0.9, at_most=False),
        Figure("bare loop: CPU", statistics.median(bare_cpu), "ms/job", note="the user's create and 3 writes"),
        Figure("operator: CPU", statistics.median(cpu), "ms/job", goal=3, note="3 writes, and all that it announces"),
        Figure("operator: writes", statistics.median(writes), "/job", note="1 Job, 2 statuses"),
    ]


async def _prepare(cluster: Cluster, space: str) -> FunctionRunner:
    await namespace(cluster, space)
    made = await put(cluster, operators.runner("tiny", space), "functionrunners")
    return FunctionRunner.model_validate(made)


async def _ours(rig: Rig, space: str, jobs: int) -> tuple[float, float]:
    async with connected(rig) as cluster:
        await _prepare(cluster, space)
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
    return jobs / made, jobs / finished


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


async def _bare(rig: Rig, space: str, jobs: int) -> tuple[float, float]:
    async with connected(rig) as cluster:
        runner = await _prepare(cluster, space)
        ends: asyncio.Queue[str] = asyncio.Queue()
        ended: set[str] = set()

        def on_pod(pod: dict[str, Any], _now: float) -> None:
            name = pod["metadata"]["labels"][names.LABEL_JOB]
            if pod["status"]["phase"] == "Succeeded" and name not in ended:
                ended.add(name)
                ends.put_nowait(name)

        versions: dict[str, asyncio.Future[str]] = {}

        statuses: dict[str, dict[str, Any]] = {}

        async def create(number: int) -> None:
            written = versions.setdefault(f"job-{number}", asyncio.get_running_loop().create_future())
            raw = await put(cluster, operators.job(f"job-{number}", space), "generationjobs")
            job = GenerationJob.model_validate(raw)
            plan = resolve(job, [runner], platform=CLUSTER)
            assert isinstance(plan, Plan)
            manifest = attempt_job(job, plan, 1, runner, Dependencies(nats_url="nats://nats:4222"))
            await cluster.make(path_of("batch/v1", "jobs", space), manifest)
            raw["status"] = _dispatched(plan)
            statuses[job.metadata.name] = raw
            written.set_result(await cluster.replace(job_path(space, job.metadata.name, "status"), raw))

        async def finish() -> None:
            while True:
                name = await ends.get()
                version = await versions[name]  # its pod may be quicker than our own write
                raw = statuses.pop(name)
                raw["metadata"]["resourceVersion"] = version
                raw["status"]["phase"] = "Succeeded"
                raw["status"]["completionTime"] = datetime.now(UTC).isoformat()
                await cluster.replace(job_path(space, name, "status"), raw)

        began = time.monotonic()
        async with watching(cluster, "v1", "pods", space, on_pod):
            finishing = [asyncio.create_task(finish()) for _ in range(8)]
            await at_once([lambda number=number: create(number) for number in range(jobs)])  # type: ignore[misc]
            made = time.monotonic() - began
            finished = await _all_finished(cluster, space, jobs, began)
            for task in finishing:
                task.cancel()
    return jobs / made, jobs / finished


def _dispatched(plan: Plan) -> dict[str, Any]:
    """A status of about the size that ours has."""
    now = datetime.now(UTC).isoformat()
    condition = {"status": "True", "reason": "PodCreated", "lastTransitionTime": now, "observedGeneration": 1}
    kinds = ("Accepted", "Dispatched", "Finished")
    message = "Attempt 1 has a pod of its own, by Job job-1."
    return {
        "attempt": 1,
        "conditions": [{"type": kind, "message": message, **condition} for kind in kinds],
        "dispatchTime": now,
        "observedGeneration": 1,
        "phase": "Dispatched",
        "plan": plan.model_dump(mode="json", exclude_defaults=True),
    }
