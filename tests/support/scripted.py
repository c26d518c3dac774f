"""A worker and a gateway of few lines, which do as a test says: they speak the protocol, and nothing runs."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from auteur_contracts import names, subjects
from auteur_contracts.commands import ListedJobs, ListJobs, Snapshot, Submit
from auteur_contracts.events import Envelope
from auteur_contracts.orders import (
    ClaimRefused,
    ClaimReply,
    ClaimRequest,
    Grant,
    Heartbeat,
    Order,
    Outcome,
    Report,
    WorkerState,
)
from auteur_contracts.resources import (
    Failure,
    FunctionDeclaration,
    FunctionRunner,
    FunctionRunnerSpec,
    GenerationJob,
    GenerationJobSpec,
    ObjectMeta,
    Output,
    TierDeclaration,
)
from auteur_contracts.vocabulary import Quality
from auteur_kit import streams
from auteur_kit.bus import Bus, Consumer, Delivery
from auteur_kit.clock import utc_now

_reply: TypeAdapter[ClaimReply] = TypeAdapter(ClaimReply)

ECHO = FunctionRunner(
    metadata=ObjectMeta(name="echo"),
    spec=FunctionRunnerSpec(
        functions=(
            FunctionDeclaration(
                name="echo",
                params_schema={
                    "type": "object",
                    "properties": {"text": {"type": "string"}, "seed": {"type": "integer"}},
                    "additionalProperties": False,
                },
            ),
        ),
        tiers=(TierDeclaration(quality=Quality.STANDARD, pipeline="echo"),),
    ),
)


def register(runners: Path, runner: FunctionRunner = ECHO) -> None:
    runners.mkdir(parents=True, exist_ok=True)
    (runners / f"{runner.metadata.name}.json").write_text(runner.model_dump_json())


def echo_job(name: str, **spec: object) -> GenerationJob:
    """A job for ECHO under a request id of its own."""
    return GenerationJob(
        metadata=ObjectMeta(name=name, annotations={names.ANNOTATION_REQUEST_ID: str(uuid.uuid4())}),
        spec=GenerationJobSpec.model_validate({"function": "echo", "params": {"text": name}, **spec}),
    )


async def submit(bus: Bus, job: GenerationJob) -> None:
    subject = subjects.JobCommand(*job.key, subjects.Verb.SUBMIT)
    await bus.publish(subject, Submit(job=job), msg_id=job.metadata.annotations[names.ANNOTATION_REQUEST_ID])


async def find(bus: Bus, name: str) -> Snapshot | None:
    """A job as the control plane has it."""
    data = await bus.request(subjects.JobQuery(names.DEFAULT_NAMESPACE, "list"), ListJobs(names=(name,)))
    return next(iter(ListedJobs.read(data).items), None)


@dataclass
class Facts:
    """Everything announced, in order: each fact once, as the event stream keeps it."""

    seen: list[Envelope] = field(default_factory=list)

    async def hear(self, _subject: str, data: bytes) -> None:
        fact = Envelope.model_validate_json(data)
        if all(known.id != fact.id for known in self.seen):
            self.seen.append(fact)

    def of(self, name: str) -> list[str]:
        return [envelope.data.fact.value for envelope in self.seen if envelope.name == name]


class ScriptedWorker:
    """Takes orders of its pool only when it is told to."""

    def __init__(self, bus: Bus, name: str = "worker-1", *, pool: str = "echo") -> None:
        self._bus = bus
        self.name = name
        self._pool = pool
        self.cancelled: list[str] = []
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self.state = WorkerState.READY
        self.message = ""
        self.heartbeats = True
        self._busy_with: tuple[str, int] = ("", 0)
        self.beats = 0

    async def beat(self) -> None:
        if not self.heartbeats:
            return
        self.beats += 1
        uid, attempt = self._busy_with
        beat = Heartbeat(
            worker=self.name,
            pool=self._pool,
            runner="echo",
            state=self.state,
            message=self.message,
            uid=uid,
            attempt=attempt,
            sequence=self.beats,
        )
        await self._bus.say(subjects.Heartbeat(self._pool, self.name), beat)

    async def live(self) -> None:
        """Heartbeats and takes orders off the queue, until cancelled."""

        async def take(batch: list[Delivery]) -> None:
            for delivery in batch:
                await self._orders.put(Order.model_validate_json(delivery.data))
                await delivery.ack()

        async def note(subject: str, _data: bytes) -> None:
            self.cancelled.append(subject)

        await self._bus.listen("auteur.signal.v1.*.*.cancel", note)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._bus.consume(
                    Consumer(streams.WORK, f"pool-{self._pool}", subjects.pool_work(self._pool), batch=1), take
                )
            )
            while True:
                await self.beat()
                await asyncio.sleep(0.5)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Until the end of the block."""
        life = asyncio.create_task(self.live())
        try:
            yield
        finally:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life

    async def order(self) -> Order:
        return await asyncio.wait_for(self._orders.get(), 60)

    async def claim(self, order: Order, *, nonce: str = "", worker: str = "") -> Grant | ClaimRefused:
        request = ClaimRequest(
            namespace=order.namespace,
            name=order.name,
            uid=order.uid,
            attempt=order.attempt,
            worker=worker or self.name,
            nonce=nonce or uuid.uuid4().hex,
        )
        reply = _reply.validate_json(await self._bus.request(subjects.Claim(order.namespace), request))
        if reply.granted:
            self.state, self._busy_with = WorkerState.BUSY, (order.uid, order.attempt)
            await self.beat()
        return reply

    async def report(
        self,
        order: Order,
        token: str,
        outcome: Outcome = Outcome.SUCCEEDED,
        *,
        outputs: tuple[Output, ...] = (),
        failure: Failure | None = None,
    ) -> None:
        now = utc_now()
        said = Report(
            namespace=order.namespace,
            name=order.name,
            uid=order.uid,
            attempt=order.attempt,
            worker=self.name,
            token=token,
            outcome=outcome,
            outputs=outputs,
            failure=failure,
            metrics={"run_seconds": 1.0},
            started_at=now,
            finished_at=now,
        )
        await self.say_of_its_end(order, said.model_dump(mode="json", exclude_none=True))

    async def say_of_its_end(self, order: Order, said: dict[str, object]) -> None:
        """A report, whatever it is; the fields that name its attempt may be left out."""
        identity = order.model_dump(mode="json", include={"namespace", "name", "uid", "attempt"})
        data = json.dumps({**identity, "worker": self.name, **said}).encode()
        subject = subjects.ReportOf(order.pool, order.uid, order.attempt)
        await self._bus.publish(subject, data, msg_id=f"{order.uid}-{order.attempt}-{uuid.uuid4().hex}")
        self.state, self._busy_with = WorkerState.READY, ("", 0)
        await self.beat()

    async def run_one(self) -> Order:
        """Order → claim → success."""
        order = await self.order()
        grant = await self.claim(order)
        assert isinstance(grant, Grant), grant
        await self.report(order, grant.token)
        return order
