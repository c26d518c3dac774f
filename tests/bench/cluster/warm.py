"""A warm worker: how long after `apply` it says its first progress. A real agent with a real child, claims and all."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auteur_contracts import subjects
from auteur_contracts.events import Envelope
from auteur_contracts.names import TierPool
from auteur_kit.bus import Bus
from auteur_kit.store import Store
from tests.bench.cluster.rig import Fresh, Rig, connected, namespace, put
from tests.bench.floors import bare_worker, started
from tests.bench.ledger import await_entry
from tests.bench.table import Figure, percentile
from tests.support.servers import ServerProcess, variables_of

_JOBS = 200
_WARM_UP = 3
_IDLE = 0.05
"""Seconds in which a worker says that it is ready again: idle is what we measure."""
_SPACE = "warm"
_TIER = {"quality": "standard", "pipeline": "echo", "warm": {"min": 1, "max": 1, "idleSeconds": 600}}


def bench(fresh: Fresh) -> list[Figure]:
    with fresh() as rig:
        ledger = rig.folder / "ledger"
        with rig.bare(), started(bare_worker(rig.folder, rig.nats, ledger)):
            bare = asyncio.run(_measure_bare(rig, ledger))
    with fresh() as rig:
        asyncio.run(_bucket(rig))
        with rig.operating(), _worker(rig):
            took = asyncio.run(_measure(rig))
    note = f"{len(took)} jobs, one after the other; floor: a bare loop and worker, until run() is entered"
    return [
        Figure("apply → first progress, p50", percentile(took, 0.5), "ms", floor=percentile(bare, 0.5), note=note),
        Figure("apply → first progress, p99", percentile(took, 0.99), "ms", floor=percentile(bare, 0.99)),
    ]


async def _bucket(rig: Rig) -> None:
    store = Store(rig.store)
    await store.ensure_bucket()
    store.close()


@contextmanager
def _worker(rig: Rig) -> Iterator[None]:
    """The agent that a pod of the pool would run."""
    env = {
        "AUTEUR_AGENT__POOL": str(TierPool(_SPACE, "echo", "standard")),
        "AUTEUR_AGENT__WORKER": "echo-standard-0",
        **variables_of(rig.nats),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    words = ("-m", "auteur_runner", "agent", "--runner", "echo", "--target", "tests.support.echo:Echo")
    process = ServerProcess("agent", (sys.executable, *words), rig.folder / "agent.log", lambda: True, env=env)
    process.start()
    try:
        yield
    finally:
        process.stop()


async def _measure(rig: Rig) -> list[float]:
    heard: dict[str, asyncio.Future[float]] = {}
    ended: dict[str, asyncio.Future[None]] = {}

    async def on_fact(_subject: str, data: bytes) -> None:
        now = time.monotonic()
        said = Envelope.model_validate_json(data)
        if said.data.fact is subjects.Fact.PROGRESSED and said.name in heard and not heard[said.name].done():
            heard[said.name].set_result(now)
        if said.data.fact in subjects.TERMINAL_FACTS and said.name in ended and not ended[said.name].done():
            ended[said.name].set_result(None)

    took = []
    async with connected(rig) as cluster, Bus.connect(rig.nats, name="bench") as bus:
        await namespace(cluster, _SPACE)
        await put(cluster, _runner(), "functionrunners")
        await bus.listen(subjects.namespace_events(_SPACE), on_fact)
        loop = asyncio.get_running_loop()
        for number in range(_JOBS + _WARM_UP):
            name = f"warm-{number}"
            heard[name], ended[name] = loop.create_future(), loop.create_future()
            began = time.monotonic()
            await put(cluster, _job(name), "generationjobs")
            async with asyncio.timeout(60):
                at = await heard[name]
                await ended[name]
            took.append((at - began) * 1000)
            await asyncio.sleep(_IDLE)
    return took[_WARM_UP:]


async def _measure_bare(rig: Rig, ledger: Path) -> list[float]:
    took = []
    async with connected(rig) as cluster:
        await namespace(cluster, _SPACE)
        await put(cluster, _runner(), "functionrunners")
        for number in range(_JOBS + _WARM_UP):
            began = time.time_ns()
            await put(cluster, _job(f"warm-{number}"), "generationjobs")
            entered = await asyncio.to_thread(await_entry, ledger, number)
            took.append((entered - began) / 1e6)
            await asyncio.sleep(_IDLE)
    return took[_WARM_UP:]


def _runner() -> dict[str, object]:
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "steps": {"type": "integer"}}}
    return {
        "apiVersion": "auteur.studio/v1alpha1",
        "kind": "FunctionRunner",
        "metadata": {"name": "echo", "namespace": _SPACE},
        "spec": {
            "image": "registry.invalid/echo:1",
            "functions": [{"name": "echo", "paramsSchema": schema}],
            "tiers": [_TIER],
        },
    }


def _job(name: str) -> dict[str, object]:
    return {
        "apiVersion": "auteur.studio/v1alpha1",
        "kind": "GenerationJob",
        "metadata": {"name": name, "namespace": _SPACE},
        "spec": {"function": "echo", "params": {"text": name, "steps": 1}},
    }
