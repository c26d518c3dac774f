"""The real control plane over jobs in memory, on the test's NATS and store. A test decides how a job goes on, and what
gets lost on the way.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from nats.aio.client import Client as NatsClient
from pydantic import BaseModel

from auteur_contracts import names, subjects
from auteur_contracts.events import DecidedFact, Envelope, Logged, Previewed, Progressed, Started
from auteur_contracts.orders import Heartbeat, Order, Outcome, Report, WorkerState
from auteur_contracts.resources import (
    Failure,
    FunctionDeclaration,
    FunctionRunner,
    FunctionRunnerSpec,
    GenerationJob,
    GenerationJobStatus,
    InputDeclaration,
    ObjectMeta,
    Output,
    OutputDeclaration,
    Price,
    Progress,
    TierDeclaration,
)
from auteur_contracts.subjects import Verb
from auteur_contracts.vocabulary import Quality
from auteur_control.control_plane import ControlPlane, ControlSettings, Outside
from auteur_control.fair_queue import Limits
from auteur_control.kinds import JOBS
from auteur_control.testing import GivenRunners, MemoryJobs
from auteur_control.work_queue import WorkQueue
from auteur_kit import streams
from auteur_kit.bus import Bus, Consumer, Delivery, Listener
from auteur_kit.clock import utc_now
from auteur_kit.settings import NatsSettings
from auteur_kit.store import Store
from auteur_lifecycle import status as life
from auteur_lifecycle.fleet import Fleet
from auteur_runner.agent.decisions import WorkerFact, fact_of
from tests.support.background import running
from tests.support.waiting import eventually


def echo_runner(name: str = "echo", *, longest_prompt: int = 2000) -> FunctionRunner:
    """A runner of `text-to-image` and `image-to-image` with few parameters, in draft and standard."""
    schema = {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "maxLength": longest_prompt},
            "steps": {"type": "integer", "minimum": 1, "maximum": 500},
            "seed": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
        },
        "required": ["prompt"],
        "additionalProperties": False,
    }
    tiers = tuple(
        TierDeclaration(quality=quality, pipeline=f"echo-{quality.value}", defaults={"steps": steps}, price=price)
        for quality, steps, price in (
            (Quality.DRAFT, 4, None),
            (Quality.STANDARD, 20, Price.model_validate({"usdPerSecond": "0.001"})),
        )
    )
    made = (OutputDeclaration(name="image", media_type="image/png"),)
    source = (InputDeclaration(name="image", media_type="image/*"),)
    functions = (
        FunctionDeclaration(name="text-to-image", params_schema=schema, example={"prompt": "a star"}),
        FunctionDeclaration(name="image-to-image", params_schema=schema, inputs=source, outputs=made),
    )
    return FunctionRunner(metadata=ObjectMeta(name=name), spec=FunctionRunnerSpec(functions=functions, tiers=tiers))


class LossyBus(Bus):
    """The control plane's connection, on which a test loses what it likes, or keeps it waiting."""

    def __init__(self, client: NatsClient, *, owns_streams: bool) -> None:
        super().__init__(client, owns_streams=owns_streams)
        self.silent = False
        """Facts are lost."""
        self.says_requests = True
        """Facts carry the request id, as those of older control planes do not."""
        self.deaf = False
        """Commands are swallowed, as by a control plane whose truth was lost."""
        self.swallowed = 0
        self.attentive = asyncio.Event()
        """Cleared: commands wait, as for a control plane that is busy."""
        self.attentive.set()
        self.commands: list[tuple[str, Verb]] = []
        """Those that were obeyed."""
        self.asked = 0
        """Questions that came."""
        self.said: set[tuple[str, int]] = set()
        """Uid and version of what was said, or lost."""

    async def publish_fact(self, envelope: Envelope, *, traceparent: str = "", patience: float = 5.0) -> None:
        told = envelope if self.says_requests else envelope.model_copy(update={"request_id": ""})
        if not self.silent:
            await super().publish_fact(told, traceparent=traceparent, patience=patience)
        if isinstance(envelope.data, DecidedFact):
            self.said.add((envelope.uid, envelope.data.version))

    async def answer(self, subject: object, handle: Callable[[str, bytes], Awaitable[BaseModel | bytes]]) -> Listener:
        async def count(asked: str, data: bytes) -> BaseModel | bytes:
            self.asked += 1
            return await handle(asked, data)

        return await super().answer(subject, count)

    async def consume(self, consumer: Consumer, handle: Callable[[list[Delivery]], Awaitable[None]]) -> None:
        async def hear(batch: list[Delivery]) -> None:
            await self.attentive.wait()
            if self.deaf:
                self.swallowed += len(batch)
                await asyncio.gather(*(delivery.ack() for delivery in batch))
                return
            await handle(batch)
            for delivery in batch:
                command = subjects.parse(delivery.subject)
                assert isinstance(command, subjects.JobCommand)
                self.commands.append((command.name, command.verb))

        await super().consume(consumer, hear if consumer.stream == streams.COMMANDS else handle)


class MemoryControl:
    """Each runner has one worker, which is always busy: a job goes on when the test says so, by the decisions that
    orders, claims and reports lead to.
    """

    def __init__(self, bus: LossyBus, store: Store) -> None:
        self.bus = bus
        self.jobs = MemoryJobs(JOBS, utc_now)
        self._bucket = store.bucket
        self._numbers = itertools.count()
        self._fleet = Fleet()
        self.runners = GivenRunners(self._fleet, names.DEFAULT_NAMESPACE)
        settings = ControlSettings(source="engine", secret=b"secret", max_output_bytes=2**20, limits=Limits())
        outside = Outside(bus, store, utc_now)
        self._plane = ControlPlane(outside, self.jobs, self.runners, self._fleet, WorkQueue(), settings)

    async def run(self, ready: Callable[[], None]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._plane.run(ready=ready))
            while True:
                self._hear_workers()
                await asyncio.sleep(1)

    def offer(self, *runners: FunctionRunner) -> None:
        self.runners.runners = runners
        self._hear_workers()

    def _hear_workers(self) -> None:
        for runner in self.runners.runners:
            name = runner.metadata.name
            beat = Heartbeat(worker=_worker_of(name), pool=names.pool(name), runner=name, state=WorkerState.BUSY)
            self._fleet.hear(beat, time.monotonic())

    # ── what is true ──────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, name: str) -> GenerationJob | None:
        return self.jobs.find(_key(name))

    def job(self, name: str) -> GenerationJob:
        found = self.find(name)
        assert found is not None, name
        return found

    async def has(self, name: str) -> GenerationJob:
        return await eventually(lambda: self.find(name), f"the control plane to have the job {name}")

    async def released(self, name: str) -> None:
        await eventually(lambda: self.job(name).status.archived_time, f"the gateway's archive to have the job {name}")

    async def create(self, job: GenerationJob) -> None:
        """By other means than a command."""
        await self.jobs.create(job, self._plane.reconciler.first_status)

    async def expire(self, name: str) -> GenerationJob:
        """Returns it as it was."""
        last = self.job(name)
        assert await self.jobs.delete(last.key, last.metadata.uid)
        return last

    async def lose_release(self, name: str) -> None:
        """As a truth that was restored from before the archive had the job."""
        async with self.jobs.hold(_key(name)):
            job = self.job(name)
            held = job.status.model_copy(update={"holds": (names.HOLD_ARCHIVE,), "archived_time": None})
            await self.jobs.update(job, held)

    # ── how a job goes on ─────────────────────────────────────────────────────────────────────────────────────────

    async def dispatch(self, name: str) -> GenerationJob:
        """Its next attempt runs."""

        def begin(job: GenerationJob) -> GenerationJobStatus:
            now = utc_now()
            job = job.model_copy(update={"status": life.dispatch(job, now)})
            assert job.status.plan is not None
            return life.has_run(job, job.status.attempt, _worker_of(job.status.plan.runner), now, now)

        job = await self._change(name, begin)
        await self._say(name, Started(attempt=job.status.attempt, worker=job.status.worker))
        return job

    async def progress(self, name: str, step: int, steps: int) -> None:
        progress = Progress(phase="denoise", fraction=step / steps, step=step, steps=steps)
        await self._say(name, Progressed(attempt=self.job(name).status.attempt, progress=progress))

    async def preview(self, name: str, uri: str, step: int) -> None:
        await self._say(name, Previewed(attempt=self.job(name).status.attempt, uri=uri, step=step))

    async def log(self, name: str, line: str) -> None:
        await self._say(name, Logged(attempt=self.job(name).status.attempt, stream="stdout", line=line))

    async def succeed(self, name: str, *files: str) -> GenerationJob:
        if not self.job(name).status.running:
            await self.dispatch(name)
        return await self._change(name, lambda job: life.report(job, self._report(job, files), utc_now()))

    async def fail(self, name: str, failure: Failure) -> None:
        """Each of its attempts, to the last."""
        while not self.job(name).status.finished:
            await self.dispatch(name)
            await self._change(name, lambda job: life.end_attempt(job, job.status.attempt, failure, utc_now()))

    async def _change(self, name: str, decide: Callable[[GenerationJob], GenerationJobStatus]) -> GenerationJob:
        """Returns when it was said: what workers say next, comes next."""
        async with self.jobs.hold(_key(name)):
            job = await self.jobs.change(_key(name), decide)
        assert job is not None, name
        meta = job.metadata
        await eventually(lambda: (meta.uid, int(meta.resource_version)) in self.bus.said, f"the news of {name}")
        return job

    async def _say(self, name: str, data: WorkerFact) -> None:
        """As its worker."""
        job = self.job(name)
        assert job.status.plan is not None
        order = Order.of(job, job.status.plan.pool, job.status.attempt)
        node = job.metadata.annotations.get(names.ANNOTATION_NODE_ID, "")
        fact = fact_of(order, node, job.status.worker, data, next(self._numbers), utc_now())
        await self.bus.publish_fact(fact)

    def _report(self, job: GenerationJob, files: tuple[str, ...]) -> Report:
        meta, status = job.metadata, job.status
        prefix = names.AttemptPrefix(meta.namespace, job.spec.project, meta.uid, status.attempt)
        outputs = tuple(
            Output(
                name=file,
                uri=names.s3_uri(self._bucket, f"{prefix}{file}"),
                media_type="image/png",
                sha256="0" * 64,
                bytes=7,
                width=64,
                height=64,
            )
            for file in files
        )
        now = utc_now()
        return Report(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            attempt=status.attempt,
            worker=status.worker,
            token="",
            outcome=Outcome.SUCCEEDED,
            outputs=outputs,
            started_at=now,
            finished_at=now,
        )


@contextlib.asynccontextmanager
async def running_control(nats: NatsSettings, store: Store) -> AsyncIterator[MemoryControl]:
    """With the runner `echo`."""
    async with LossyBus.connect(nats, name="control", owns_streams=True) as bus:
        await bus.ensure_streams()
        control = MemoryControl(bus, store)
        control.offer(echo_runner())
        async with running(control.run):
            yield control


def _key(name: str) -> tuple[str, str]:
    return names.DEFAULT_NAMESPACE, name


def _worker_of(runner: str) -> str:
    return f"{runner}-1"
