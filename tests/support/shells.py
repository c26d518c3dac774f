"""The control plane in each of its shells, in the test's own process on the test's NATS and store: over memory, over
the engine's table, over custom resources of a cluster in memory. Each can be ended without goodbye and begun again.
"""

import asyncio
import contextlib
import json
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, Warm
from auteur_control.control_plane import ControlPlane, ControlSettings, Outside
from auteur_control.fair_queue import Limits
from auteur_control.kinds import JOBS
from auteur_control.resources import JobResources, document_of
from auteur_control.testing import GivenRunners, MemoryJobs
from auteur_control.work_queue import WorkQueue
from auteur_engine.engine import run_engine
from auteur_engine.resources import StoredJobs
from auteur_engine.settings import EngineSettings
from auteur_engine.table import Table
from auteur_kit.bus import Bus
from auteur_kit.clock import utc_now
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from auteur_lifecycle.fleet import Fleet
from auteur_operator.cluster import path_of
from auteur_operator.health import Health
from auteur_operator.job_cache import JobCache
from auteur_operator.leadership import Replica
from auteur_operator.metrics import Metrics
from auteur_operator.resources import ClusterJobs
from auteur_operator.settings import OperatorSettings, Settings
from tests.support.background import running
from tests.support.memory_cluster import MemoryCluster
from tests.support.memory_objects import Change, Json, Key
from tests.support.scripted import ECHO, register
from tests.support.waiting import eventually

SECRET = SecretStr("s")
MOST_ACTIVE = 8


class Shell(ABC):
    pool = names.pool(ECHO.metadata.name)
    """Of the runner `echo`."""

    @abstractmethod
    def offer(self, runner: FunctionRunner) -> None:
        """From now on it can be asked for; in the place of one of its name."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[None]:
        """Hears and answers inside the block; leaving it ends the control plane without goodbye."""

    @abstractmethod
    def truth(self) -> AbstractAsyncContextManager[JobResources]:
        """The jobs as they are stored, to be changed while no control plane runs: as another version left them."""

    @abstractmethod
    async def stored(self, name: str) -> Json:
        """The job as JSON, as it is stored now; empty where there is none."""

    @abstractmethod
    async def rewrite(self, name: str, change: Callable[[Json], None]) -> None:
        """Changes what is stored, past every schema and while no control plane runs: as another version left it."""

    @abstractmethod
    def stalled(self) -> AbstractContextManager[None]:
        """What is true cannot be written inside the block."""


class InMemory(Shell):
    def __init__(self, nats: NatsSettings, store: Store) -> None:
        self._nats = nats
        self._store = store
        self._jobs = MemoryJobs(JOBS, utc_now)
        self._runners: dict[str, FunctionRunner] = {}

    def offer(self, runner: FunctionRunner) -> None:
        self._runners[runner.metadata.name] = runner

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        fleet = Fleet()
        self._jobs.forget_watchers()
        carriers = GivenRunners(fleet, names.DEFAULT_NAMESPACE, *self._runners.values())
        settings = ControlSettings(
            source="memory",
            secret=SECRET.get_secret_value().encode(),
            max_output_bytes=1024,
            limits=Limits(total=MOST_ACTIVE),
        )
        async with Bus.connect(self._nats, name="memory", owns_streams=True) as bus:
            await bus.ensure_streams()
            outside = Outside(bus, self._store, utc_now)
            control = ControlPlane(outside, self._jobs, carriers, fleet, WorkQueue(), settings)
            async with running(lambda ready: control.run(ready=ready)):
                yield

    @asynccontextmanager
    async def truth(self) -> AsyncIterator[JobResources]:
        self._jobs.forget_watchers()
        yield self._jobs

    async def stored(self, name: str) -> Json:
        found = self._jobs.read((names.DEFAULT_NAMESPACE, name))
        return {} if found is None else dict(json.loads(document_of(found)))

    async def rewrite(self, name: str, change: Callable[[Json], None]) -> None:
        job = await self.stored(name)
        change(job)
        self._jobs.leave(job)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        self._jobs.writable.clear()
        yield
        self._jobs.writable.set()


class _GatedTable(Table):
    """Commits nothing while its gate is closed."""

    gate = threading.Event()

    def _next_batch(self) -> Any:
        batch = super()._next_batch()
        self.gate.wait(60)
        return batch


class OnOneMachine(Shell):
    def __init__(self, nats: NatsSettings, store: Store, folder: Path) -> None:
        self._nats = nats
        self._store = store
        self._runners = folder / "runners"
        self._settings = EngineSettings(
            database=folder / "engine.db", runners=self._runners, secret=SECRET, max_active=MOST_ACTIVE
        )

    def offer(self, runner: FunctionRunner) -> None:
        register(self._runners, runner)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        _GatedTable.gate.set()
        table = self._open()
        async with Bus.connect(self._nats, name="engine", owns_streams=True) as bus:
            outside = Outside(bus, self._store, utc_now)
            async with running(lambda ready: run_engine(outside, table, self._settings, ready=ready)):
                yield
        table.close()

    @asynccontextmanager
    async def truth(self) -> AsyncIterator[JobResources]:
        with contextlib.closing(self._open()) as table:
            yield StoredJobs(table, JOBS, utc_now)

    async def stored(self, name: str) -> Json:
        with contextlib.closing(sqlite3.connect(self._settings.database)) as database:
            row = database.execute("SELECT resource FROM resources WHERE name = ?", (name,)).fetchone()
        return {} if row is None else dict(json.loads(row[0]))

    async def rewrite(self, name: str, change: Callable[[Json], None]) -> None:
        job = await self.stored(name)
        change(job)
        with contextlib.closing(sqlite3.connect(self._settings.database)) as database, database:
            database.execute("UPDATE resources SET resource = ? WHERE name = ?", (json.dumps(job), name))

    def _open(self) -> Table:
        return _GatedTable.open(self._settings.database, on_fault=lambda error: pytest.fail(repr(error)))

    @contextmanager
    def stalled(self) -> Iterator[None]:
        _GatedTable.gate.clear()
        yield
        _GatedTable.gate.set()


def _key_of(job: str) -> Key:
    return Key(names.API_VERSION, "generationjobs", names.DEFAULT_NAMESPACE, job)


class OnACluster(Shell):
    pool = str(names.TierPool(names.DEFAULT_NAMESPACE, ECHO.metadata.name, ECHO.spec.tiers[0].quality.value))

    def __init__(self, nats: NatsSettings, store: Store, settings: StoreSettings) -> None:
        self._store = store
        self._settings = Settings(
            nats=nats,
            store=settings,
            operator=OperatorSettings(
                namespace="auteur", secret=SECRET, archived_namespaces=(names.DEFAULT_NAMESPACE,)
            ),
        )
        self.cluster = MemoryCluster()
        self.cluster.put_namespace("auteur")
        self.cluster.put_namespace(names.DEFAULT_NAMESPACE, **{names.LABEL_ENABLED: "true"})

    def offer(self, runner: FunctionRunner) -> None:
        """Its jobs wait for warm workers, who are played: the cluster in memory makes none for a Deployment."""
        self.offer_with(runner, Warm(min=1, max=500, idle_seconds=300))

    def offer_with(self, runner: FunctionRunner, warm: Warm) -> None:
        tiers = tuple(tier.model_copy(update={"warm": warm}) for tier in runner.spec.tiers)
        spec = runner.spec.model_copy(update={"image": "registry.example/echo:1", "tiers": tiers})
        manifest = runner.model_copy(update={"spec": spec}).model_dump(
            mode="json", exclude={"status"}, exclude_none=True
        )
        meta = {"name": runner.metadata.name, "namespace": names.DEFAULT_NAMESPACE}
        path = path_of(names.API_VERSION, "functionrunners", meta["namespace"], meta["name"])
        self.cluster.put(path, {**manifest, "metadata": meta})

    def pods(self) -> list[Json]:
        """Of attempts, in whatever state."""
        return [pod for _, pod in self.cluster.objects.select(Key("v1", "pods", names.DEFAULT_NAMESPACE, ""), {})]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        health = Health()
        replica = Replica(self._settings, self.cluster, self._store, health, Metrics(), utc_now)
        hears = {
            "generationjobs": replica.intake.on_job,
            "functionrunners": replica.intake.on_runner,
            "pods": replica.intake.on_pod,
            "deployments": replica.intake.on_deployment,
            "namespaces": replica.intake.on_namespace,
        }

        def hear(change: Change) -> None:
            """As a watch: a moment later."""
            if change.key.plural in hears:
                later = asyncio.get_running_loop().call_soon
                later(lambda: hears[change.key.plural](change.told, deleted=change.after is None))

        self.cluster.listeners = [hear]
        leading = asyncio.create_task(replica.lead())
        try:
            await eventually(lambda: leading.done() or not health.waits_for, "the operator to lead")
            if leading.done():
                leading.result()
            yield
        finally:
            self.cluster.listeners = []
            leading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leading

    @asynccontextmanager
    async def truth(self) -> AsyncIterator[JobResources]:
        yield ClusterJobs(self.cluster, JobCache())

    async def stored(self, name: str) -> Json:
        return self.cluster.objects.find(_key_of(name)) or {}

    async def rewrite(self, name: str, change: Callable[[Json], None]) -> None:
        job = await self.stored(name)
        change(job)
        self.cluster.objects.put(_key_of(name), job)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        self.cluster.writable.clear()
        yield
        self.cluster.writable.set()
