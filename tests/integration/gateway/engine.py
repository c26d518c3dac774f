"""The engine's side of the conversation, played by hand: takes commands, says facts, answers questions."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from auteur_contracts import catalogue, names
from auteur_contracts.commands import ListedJobs, ListJobs, Snapshot, Submit
from auteur_contracts.events import (
    Accepted,
    Cancelled,
    DecidedFact,
    Dispatched,
    Envelope,
    FactData,
    Failed,
    Logged,
    Previewed,
    Progressed,
    Rejected,
    Started,
    Succeeded,
)
from auteur_contracts.resources import (
    Condition,
    Failure,
    FunctionDeclaration,
    FunctionRunner,
    FunctionRunnerSpec,
    FunctionRunnerStatus,
    GenerationJob,
    GenerationJobStatus,
    InputDeclaration,
    ObjectMeta,
    Output,
    OutputDeclaration,
    Price,
    Progress,
    QueueStatus,
    TierDeclaration,
)
from auteur_contracts.subjects import COMMANDS, JobCommand, JobQuery, Verb, parse
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Quality, Reason
from auteur_kit.bus import Bus, Consumer, Delivery
from auteur_lifecycle.capabilities import ONE_MACHINE
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.resolve import resolve

BUCKET = "auteur"


def echo_runner(name: str = "echo", *, ready: bool = True, longest_prompt: int = 2000) -> FunctionRunner:
    """A runner of `text-to-image` with few parameters, in draft and standard."""
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
    return FunctionRunner(
        metadata=ObjectMeta(name=name),
        spec=FunctionRunnerSpec(
            functions=(
                FunctionDeclaration(name="text-to-image", params_schema=schema, example={"prompt": "a star"}),
                FunctionDeclaration(
                    name="image-to-image",
                    params_schema=schema,
                    inputs=(InputDeclaration(name="image", media_type="image/*"),),
                    outputs=(OutputDeclaration(name="image", media_type="image/png"),),
                ),
            ),
            tiers=tiers,
        ),
        status=FunctionRunnerStatus(ready=ready),
    )


class PlayedEngine:
    """Keeps jobs in memory. It accepts what is submitted; how a job goes on is the test's business."""

    def __init__(self, bus: Bus, runner: FunctionRunner | None = None) -> None:
        self.bus = bus
        self.runner = runner or echo_runner()
        self.jobs: dict[str, GenerationJob] = {}
        self.commands: list[tuple[str, Verb]] = []
        self.silent = False
        """Changes are made but not announced, as if the events were lost."""
        self.deaf = False
        """Commands are swallowed, as by an engine whose database was lost."""
        self.swallowed = 0
        self.says_requests = True
        """Its facts carry the request id, as workers' and older engines' do not."""
        self.attentive = asyncio.Event()
        """Cleared: commands wait, as for an engine that is busy."""
        self.attentive.set()
        self._versions = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["PlayedEngine"]:
        await self.offer(self.runner)
        listeners = [
            await self.bus.answer(JobQuery("default", "list"), self._list),
        ]
        consumer = Consumer("COMMANDS", f"engine-{uuid.uuid4().hex[:8]}", COMMANDS)
        task = asyncio.create_task(self.bus.consume(consumer, self._commands))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for listener in listeners:
                await listener.stop()

    async def offer(self, *runners: FunctionRunner) -> None:
        await self.bus.put_document(catalogue.BUCKET, catalogue.key("default"), catalogue.encode(ONE_MACHINE, runners))

    async def _list(self, _subject: str, data: bytes) -> ListedJobs:
        asked = ListJobs.model_validate_json(data)
        wanted = sorted(name for name in self.jobs if not asked.names or name in asked.names)
        page = [name for name in wanted if name > asked.after][: asked.limit]
        more = page[-1] if page and page[-1] != wanted[-1] else ""
        return ListedJobs(items=tuple(self._snapshot(self.jobs[name]) for name in page), more=more)

    def _snapshot(self, job: GenerationJob) -> Snapshot:
        """With its place in the line, which is in no fact and has no version."""
        line = [name for name, one in self.jobs.items() if not (one.status.dispatched or one.status.finished)]
        place = QueueStatus(position=line.index(job.metadata.name) + 1) if job.metadata.name in line else None
        shown = job.model_copy(update={"status": job.status.model_copy(update={"queue": place})})
        return Snapshot(job=shown, version=int(job.metadata.resource_version or 0))

    async def _commands(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            await self.attentive.wait()
            command = parse(delivery.subject)
            assert isinstance(command, JobCommand)
            if self.deaf:
                self.swallowed += 1
            else:
                self.commands.append((command.name, command.verb))
                await self._obey(command, delivery.data)
            await delivery.ack()

    async def _obey(self, command: JobCommand, data: bytes) -> None:
        match command.verb:
            case Verb.SUBMIT if command.name not in self.jobs:
                await self.accept(Submit.model_validate_json(data).job)
            case Verb.CANCEL if (job := self.jobs.get(command.name)) and not job.status.finished:
                await self.cancel(command.name)
            case Verb.DELETE:
                self.jobs.pop(command.name, None)
            case _:
                pass

    # ── what happens to a job ─────────────────────────────────────────────────────────────────────────────────────

    async def accept(self, job: GenerationJob) -> None:
        uid = str(uuid.uuid4())
        job = job.model_copy(update={"metadata": job.metadata.model_copy(update={"uid": uid})})
        planned = resolve(job, [self.runner])
        if isinstance(planned, Refusal):
            await self._refuse(job, planned)
            return
        status = GenerationJobStatus(
            conditions=(condition(ConditionType.ACCEPTED, ConditionStatus.TRUE, Reason.RESOLVED),), plan=planned
        )
        await self._decide(job, status, Accepted)

    async def _refuse(self, job: GenerationJob, refusal: Refusal) -> None:
        ended = (
            condition(ConditionType.ACCEPTED, ConditionStatus.FALSE, refusal.reason, refusal.message),
            condition(ConditionType.FINISHED, ConditionStatus.TRUE, refusal.reason),
            condition(ConditionType.SUCCEEDED, ConditionStatus.FALSE, refusal.reason, refusal.message),
        )
        await self._decide(job, GenerationJobStatus(conditions=ended, completion_time=now()), Rejected)
        del self.jobs[job.metadata.name]  # none was made

    async def dispatch(self, name: str) -> None:
        job = self.jobs[name]
        attempt = job.status.attempt + 1
        status = self._with(job.status, ConditionType.DISPATCHED, Reason.ORDERED, attempt=attempt)
        await self._decide(job, status, Dispatched)
        await self.say(name, Started(attempt=attempt, worker="echo-1"))

    async def progress(self, name: str, step: int, steps: int, *, preview: str | None = None) -> None:
        progress = Progress(phase="denoise", fraction=step / steps, step=step, steps=steps, preview_uri=preview)
        await self.say(name, Progressed(attempt=self.jobs[name].status.attempt, progress=progress))

    async def preview(self, name: str, uri: str, step: int) -> None:
        await self.say(name, Previewed(attempt=self.jobs[name].status.attempt, uri=uri, step=step))

    async def log(self, name: str, line: str) -> None:
        await self.say(name, Logged(attempt=self.jobs[name].status.attempt, stream="stdout", line=line))

    async def succeed(self, name: str, *outputs: Output) -> None:
        job = self.jobs[name]
        status = self._with(job.status, ConditionType.FINISHED, Reason.OUTPUTS_COMMITTED)
        status = self._with(status, ConditionType.SUCCEEDED, Reason.OUTPUTS_COMMITTED, outputs=outputs)
        await self._decide(job, status.model_copy(update={"completion_time": now()}), Succeeded)

    async def fail(self, name: str, failure: Failure) -> None:
        job = self.jobs[name]
        status = self._with(job.status, ConditionType.FINISHED, failure.reason)
        ended = condition(ConditionType.SUCCEEDED, ConditionStatus.FALSE, failure.reason, failure.message)
        update = {"conditions": (*status.conditions, ended), "failure": failure, "completion_time": now()}
        await self._decide(job, status.model_copy(update=update), Failed)

    async def cancel(self, name: str) -> None:
        job = self.jobs[name]
        status = self._with(job.status, ConditionType.FINISHED, Reason.CANCELLED)
        status = status.model_copy(
            update={
                "conditions": (
                    *status.conditions,
                    condition(ConditionType.SUCCEEDED, ConditionStatus.FALSE, Reason.CANCELLED),
                ),
                "completion_time": now(),
                "cancelled_by": "api",
            }
        )
        await self._decide(job, status, Cancelled)

    def _with(
        self, status: GenerationJobStatus, kind: ConditionType, reason: Reason, **update: object
    ) -> GenerationJobStatus:
        kept = tuple(one for one in status.conditions if one.type is not kind)
        return status.model_copy(
            update={"conditions": (*kept, condition(kind, ConditionStatus.TRUE, reason)), **update}
        )

    async def _decide(self, job: GenerationJob, status: GenerationJobStatus, fact: type[DecidedFact]) -> None:
        self._versions += 1
        metadata = job.metadata.model_copy(update={"resource_version": str(self._versions)})
        self.jobs[job.metadata.name] = job.model_copy(update={"status": status, "metadata": metadata})
        await self.say(job.metadata.name, fact(attempt=status.attempt, version=self._versions, status=status))

    async def say(self, name: str, data: FactData) -> None:
        if not self.silent:
            with_request = self.says_requests and isinstance(data, DecidedFact)
            await self.bus.publish_fact(envelope(self.jobs[name], data, with_request=with_request))


def envelope(job: GenerationJob, data: FactData, source: str = "engine", *, with_request: bool = False) -> Envelope:
    return Envelope(
        id=str(uuid.uuid4()),
        source=source,
        time=now(),
        namespace=job.metadata.namespace,
        project=job.spec.project,
        name=job.metadata.name,
        uid=job.metadata.uid,
        request_id=job.metadata.annotations.get(names.ANNOTATION_REQUEST_ID, "") if with_request else "",
        node_id=job.metadata.annotations.get(names.ANNOTATION_NODE_ID, ""),
        data=data,
    )


def condition(kind: ConditionType, status: ConditionStatus, reason: Reason, message: str = "") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=now())


def now() -> datetime:
    return datetime.now(UTC)


def picture(job: GenerationJob, bucket: str = BUCKET, name: str = "image.png") -> Output:
    prefix = names.AttemptPrefix(job.metadata.namespace, job.spec.project, job.metadata.uid, 1)
    return Output(
        name=name,
        uri=names.s3_uri(bucket, f"{prefix}{name}"),
        media_type="image/png",
        sha256="0" * 64,
        bytes=7,
        width=64,
        height=64,
    )
