"""What the operator says and hears over NATS: commands of the gateway, claims and reports of workers, heartbeats and
progress, questions. Each is one decision about one job, made under the job's lock and written before it is answered.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pydantic import TypeAdapter, ValidationError

from auteur_contracts import names, subjects
from auteur_contracts.commands import Cancel, Delete, GetJob, GotJob, ListedJobs, ListJobs, Release, Snapshot, Submit
from auteur_contracts.errors import Unavailable
from auteur_contracts.events import Envelope, Previewed, Progressed
from auteur_contracts.orders import (
    ClaimRefused,
    ClaimRequest,
    Grant,
    Heartbeat,
    Order,
    RefusalReason,
    Report,
    WorkerState,
)
from auteur_contracts.resources import (
    FunctionRunner,
    GenerationJob,
    GenerationJobStatus,
    ObjectMeta,
    Progress,
)
from auteur_contracts.vocabulary import Reason
from auteur_kit import streams, trace
from auteur_kit.bus import Bus, Consumer, Delivery
from auteur_kit.clock import Clock
from auteur_kit.grants import Granter, refused
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle import status as life
from auteur_lifecycle.estimate import Estimates
from auteur_lifecycle.facts import envelope, facts_between
from auteur_lifecycle.fleet import Fleet
from auteur_lifecycle.refusal import Refusal
from auteur_operator.cluster import Cluster, ClusterError, Conflicted, Exists, Forbidden, Gone, Invalid, path_of
from auteur_operator.jobs import Jobs, read
from auteur_operator.statuses import SOURCE, Statuses, job_path
from auteur_operator.turns import Key, Turns
from auteur_operator.world import World

log = get_logger()
catalogue_document: TypeAdapter[tuple[FunctionRunner, ...]] = TypeAdapter(tuple[FunctionRunner, ...])
_PROGRESS_EVERY = 1.0
_PROGRESS_WRITES = 50
"""A second, over all jobs: status is for those who look, events for those who watch."""
_PLACES = 10
"""First ones of a line whose place is in their status."""
_COMMAND_REPEAT = 5.0
_CATALOGUE_REPEAT = 2.0
"""NATS forgets the catalogue when it restarts (it lies in memory), so it is put again."""
_PAGE_BYTES = 512 * 1024
_AT_ONCE = 32
_ALWAYS = (subjects.Verb.SUBMIT, subjects.Verb.RELEASE)
"""Obeyed, or refused aloud, in namespaces that are not (any more) enabled: a released job only expires."""
_DELETED = "whoever deleted the resource"


class Conversation:
    def __init__(
        self,
        *,
        bus: Bus,
        cluster: Cluster,
        jobs: Jobs,
        world: World,
        fleet: Fleet,
        turns: Turns,
        statuses: Statuses,
        granter: Granter,
        store: Store,
        clock: Clock,
        announce: Callable[[Envelope], None],
        on_worker: Callable[[Heartbeat], None],
        look: Callable[[Key], None],
        boot: str,
    ) -> None:
        self._bus = bus
        self._cluster = cluster
        self._jobs = jobs
        self._world = world
        self._fleet = fleet
        self._turns = turns
        self._statuses = statuses
        self._granter = granter
        self._store = store
        self._clock = clock
        self._announce = announce
        self._on_worker = on_worker
        self._look = look
        self._boot = boot
        self._progress: dict[str, tuple[int, Progress]] = {}
        """uid → what an attempt said last and is not written yet"""
        self._estimates = Estimates()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        self._fleet.listen_from(time.monotonic())
        await self._bus.listen(subjects.HEARTBEATS, self._on_heartbeat)
        for fact in (subjects.Fact.PROGRESSED, subjects.Fact.PREVIEWED):
            await self._bus.listen(f"auteur.event.v1.*.*.job.*.{fact.value}", self._on_progress)
        await self._bus.answer(subjects.CLAIMS, self._on_claim)
        await self._bus.answer("auteur.query.v1.*.job.get", self._on_get)
        await self._bus.answer("auteur.query.v1.*.job.list", self._on_list)
        commands = Consumer(streams.COMMANDS, "engine", subjects.COMMANDS, batch=_AT_ONCE)
        reports = Consumer(streams.REPORTS, "engine", subjects.REPORTS, batch=_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bus.consume(commands, self._on_commands))
            group.create_task(self._bus.consume(reports, self._on_reports))
            group.create_task(self._progress_for_ever())
            group.create_task(self._catalogue_for_ever())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── orders and signals ────────────────────────────────────────────────────────────────────────────────────────

    def order(self, job: GenerationJob, repeat: int = 0) -> None:
        """Offers the attempt to the pool's warm workers. Repeated it is harmless: the claim decides."""
        plan = job.status.plan
        if plan is None:
            return
        order = Order.of(job, plan.pool, job.status.attempt)
        msg_id = f"{order.uid}-{order.attempt}-{self._boot}-{repeat}"
        self._spawn(self._put_order(order, msg_id, trace.headers_of(job.metadata.annotations)))

    async def _put_order(self, order: Order, msg_id: str, headers: dict[str, str]) -> None:
        with contextlib.suppress(Unavailable):  # mended by the repeat of unclaimed orders
            await self._bus.publish(subjects.Work(order.pool, order.uid), order, msg_id=msg_id, headers=headers)

    def signal_stop(self, uid: str, attempt: int) -> None:
        """Sooner than the next heartbeat would have it said."""
        self._spawn(self._bus.say(subjects.CancelSignal(uid, attempt), b""))

    def say_deleted(self, job: GenerationJob, version: int) -> None:
        """`kubectl delete` cancels; what was made stays."""
        if job.status.running:
            self.signal_stop(job.metadata.uid, job.status.attempt)
        status = life.cancel(job, _DELETED, self._clock())
        for fact in facts_between(job.status, status, version):
            self._announce(envelope(job, fact, source=SOURCE, now=self._clock()))

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_heartbeat(self, _subject: str, data: bytes) -> None:
        beat = Heartbeat.model_validate_json(data)
        self._fleet.hear(beat, time.monotonic())
        self._on_worker(beat)
        if beat.state is WorkerState.READY or not beat.uid:
            return
        key = self._jobs.key_of(beat.uid)
        job = self._jobs.find(key) if key else None
        if job is None or not life.is_current(job, beat.attempt):
            # Cancelled, suspended or superseded: said again at each heartbeat until it is seen.
            await self._bus.say(subjects.CancelSignal(beat.uid, beat.attempt), b"")

    async def _on_claim(self, _subject: str, data: bytes) -> Grant | ClaimRefused:
        request = ClaimRequest.model_validate_json(data)
        key = (request.namespace, request.name)

        def lookup(name: str) -> GenerationJob | None:
            return self._jobs.find((request.namespace, name))

        grant: Grant | None = None
        refusal: RefusalReason | None = None

        def decide(job: GenerationJob) -> GenerationJobStatus:
            nonlocal grant, refusal
            judged = life.claim(job, request, lookup, self._clock())
            if isinstance(judged, RefusalReason):
                refusal = judged
                return job.status
            if isinstance(judged, life.InputsGone):
                refusal = RefusalReason.STALE
                return judged.status
            # Links first: once the claim is written, the worker must get its answer.
            grant, refusal = self._granter.grant(job, request, lookup, self._clock()), None
            return judged.status

        async with self._statuses.hold(key):
            if await self._statuses.change(key, decide) is None:
                found = self._jobs.find(key)
                judged = life.claim(found, request, lookup, self._clock())
                return refused(request, judged if isinstance(judged, RefusalReason) else RefusalReason.UNKNOWN)
        if grant is None:
            return refused(request, refusal or RefusalReason.UNKNOWN)
        self._hear_claim(request, grant)
        return grant

    def _hear_claim(self, request: ClaimRequest, grant: Grant) -> None:
        """A claim is a sign of life: whoever was never heard is silent from here on, not from the beginning."""
        if request.worker in self._fleet.workers:
            self._fleet.occupy(request.worker, request.uid, request.attempt)
            return
        beat = Heartbeat(
            worker=request.worker,
            pool=grant.plan.pool,
            runner=grant.plan.runner,
            state=WorkerState.BUSY,
            uid=request.uid,
            attempt=request.attempt,
        )
        self._fleet.hear(beat, time.monotonic())

    async def _on_reports(self, batch: list[Delivery]) -> None:
        await asyncio.gather(*(self._settle(delivery, self._on_report(delivery.data)) for delivery in batch))

    async def _settle(self, delivery: Delivery, work: Awaitable[None]) -> None:
        try:
            await work
        except (Unavailable, ClusterError) as error:
            log.warning("message waits", subject=delivery.subject, error=str(error))
            await delivery.nak(_COMMAND_REPEAT)
        except (ValidationError, ValueError) as error:
            log.warning("message not understood", subject=delivery.subject, error=str(error)[:500])
            await delivery.ack()
        else:
            await delivery.ack()

    async def _on_report(self, data: bytes) -> None:
        said = Report.model_validate_json(data)
        key = (said.namespace, said.name)

        def decide(job: GenerationJob) -> GenerationJobStatus:
            if job.metadata.uid != said.uid or not life.is_current(job, said.attempt):
                log.info("late report ignored", job=said.name, attempt=said.attempt, outcome=said.outcome.value)
                return job.status
            if not self._granter.believes(said, job):
                log.warning("report with a wrong token ignored", job=said.name, worker=said.worker)
                return job.status
            self._estimates.learn(job, said)
            return life.report(job, said, self._clock())

        async with self._statuses.hold(key):
            await self._statuses.change(key, decide)

    # ── progress ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_progress(self, _subject: str, data: bytes) -> None:
        said = Envelope.model_validate_json(data)
        job = self._jobs.live((said.namespace, said.name))
        if not isinstance(job, GenerationJob) or not life.is_current(job, said.data.attempt):
            return
        _, before = self._progress.get(said.uid, (0, job.status.progress or Progress(phase="")))
        match said.data:
            case Progressed(progress=now):
                kept = now if now.preview_uri else now.model_copy(update={"preview_uri": before.preview_uri})
                self._progress[said.uid] = (said.data.attempt, kept)
            case Previewed(uri=uri):
                self._progress[said.uid] = (said.data.attempt, before.model_copy(update={"preview_uri": uri}))

    async def _progress_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_EVERY)
            for uid in tuple(self._progress)[:_PROGRESS_WRITES]:
                attempt, seen = self._progress.pop(uid)
                key = self._jobs.key_of(uid)
                if key is not None:
                    with contextlib.suppress(ClusterError):
                        await self._write_progress(key, attempt, seen)
            for key in tuple(self._turns.fronts(_PLACES)):
                with contextlib.suppress(ClusterError):
                    await self._write_place(key)

    async def _write_progress(self, key: Key, attempt: int, seen: Progress) -> None:
        async with self._statuses.hold(key):
            await self._statuses.change(key, lambda job: life.progress(job, attempt, seen))

    async def _write_place(self, key: Key) -> None:
        """Whoever stands near the front is told where; further back the place changes too often, and the API knows."""
        async with self._statuses.hold(key):
            job = self._jobs.live(key)
            if isinstance(job, GenerationJob) and _place_of(job) != self._turns.position(job):
                await self._statuses.change(key, self._placed)

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_commands(self, batch: list[Delivery]) -> None:
        """Those about one job in their order, those about different ones at once."""
        by_job: dict[str, list[Delivery]] = {}
        for delivery in batch:
            by_job.setdefault(delivery.subject.rpartition(".")[0], []).append(delivery)
        await asyncio.gather(*(self._obey_in_order(deliveries) for deliveries in by_job.values()))

    async def _obey_in_order(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            await self._settle(delivery, self._obey(delivery))

    async def _obey(self, delivery: Delivery) -> None:
        subject = subjects.parse(delivery.subject)
        if not isinstance(subject, subjects.JobCommand):
            raise ValueError(f"{delivery.subject} is no command")  # noqa: TRY004  # one answer to all nonsense
        key = (subject.namespace, subject.name)
        if key[0] not in self._world.enabled and subject.verb not in _ALWAYS:
            log.warning("command ignored: its namespace takes none", job=key[1], namespace=key[0], verb=subject.verb)
            return
        match subject.verb:
            case subjects.Verb.SUBMIT:
                await self._submit(Submit.model_validate_json(delivery.data).job, key, delivery.headers)
            case subjects.Verb.CANCEL:
                await self._cancel(key, Cancel.model_validate_json(delivery.data).by)
            case subjects.Verb.SUSPEND | subjects.Verb.RESUME:
                await self._patch(key, {"spec": {"suspend": subject.verb is subjects.Verb.SUSPEND}})
            case subjects.Verb.RELEASE:
                await self._release(key, Release.model_validate_json(delivery.data))
            case subjects.Verb.DELETE:
                await self._delete(key, Delete.model_validate_json(delivery.data))

    async def _submit(self, asked: GenerationJob, key: Key, headers: dict[str, str]) -> None:
        if asked.key != key:
            raise ValueError(f"the job {asked.key} came on the subject of {key}")
        if key[0] not in self._world.enabled:
            why = f'Namespace "{key[0]}" takes no jobs by command.'
            remedy = f"Let it in: kubectl label namespace {key[0]} {names.LABEL_ENABLED}=true"
            self._reject(asked, Refusal(Reason.NOT_SUPPORTED, why, "metadata.namespace", remedy))
            return
        manifest = _manifest(asked, headers)
        try:
            made = await self._cluster.create(path_of(names.API_VERSION, "generationjobs", key[0]), manifest)
        except Exists:
            await self._submitted_before(asked, key)
        except (Invalid, Forbidden, Gone) as error:
            self._reject(asked, Refusal(Reason.INVALID_REQUEST, error.said))
        else:
            self._jobs.take(read(made))  # a cancel may be next
            self._look(key)

    async def _submitted_before(self, asked: GenerationJob, key: Key) -> None:
        """The same request is the same job; another one of its name is refused."""
        raw = await self._cluster.find(job_path(key))
        if raw is None:
            raise Conflicted(job_path(key), "it was there and went away")
        there = raw["metadata"].get("annotations", {}).get(names.ANNOTATION_REQUEST_ID, "")
        if there != asked.metadata.annotations.get(names.ANNOTATION_REQUEST_ID, ""):
            self._reject(asked, Refusal(Reason.NAME_TAKEN, f'A job named "{key[1]}" exists.', "metadata.name"))
        elif (job := self._jobs.find(key)) is not None:  # what was said of it may have been lost
            self._statuses.announce(GenerationJobStatus(), job)

    def _reject(self, asked: GenerationJob, refusal: Refusal) -> None:
        """No job was made: said as a fact under a uid that no job has."""
        request = asked.metadata.annotations.get(names.ANNOTATION_REQUEST_ID, "")
        uid = names.event_id(f"{asked.metadata.namespace}/{asked.metadata.name}", 0, "refused", request)
        job = asked.model_copy(
            update={"metadata": asked.metadata.model_copy(update={"uid": uid}), "status": GenerationJobStatus()}
        )
        now = self._clock()
        for fact in facts_between(job.status, life.refuse(job, refusal, now), 0):
            self._announce(envelope(job, fact, source=SOURCE, now=now))

    async def _cancel(self, key: Key, by: str) -> None:
        job = self._jobs.find(key)
        if job is not None and job.status.finished:
            return
        annotations = {names.ANNOTATION_CANCELLED_BY: by} if by else {}
        await self._patch(key, {"metadata": {"annotations": annotations}, "spec": {"cancel": True}})

    async def _patch(self, key: Key, patch: dict[str, Any]) -> None:
        with contextlib.suppress(Gone):
            # The watch will show it; looked at now it is a moment sooner.
            self._jobs.take(read(await self._cluster.merge(job_path(key), patch)))
            self._look(key)

    async def _release(self, key: Key, said: Release) -> None:
        """The archive has it: from now on its time to live counts."""
        async with self._statuses.hold(key):
            job = self._jobs.find(key)
            if job is None or job.metadata.uid != said.uid or not job.status.finished or job.status.archived_time:
                return
            archived = job.status.model_copy(update={"archived_time": self._clock()})
            with contextlib.suppress(Gone):
                await self._statuses.write(job, archived)

    async def _delete(self, key: Key, said: Delete) -> None:
        """The resource before its files."""
        raw = await self._cluster.find(job_path(key))
        found = raw["metadata"]["uid"] if raw else ""
        if raw is not None and said.uid in ("", found):
            project = raw.get("spec", {}).get("project", names.DEFAULT_PROJECT)
            await self._cluster.delete(job_path(key), uid=found)
            await self._store.delete_prefix(names.job_prefix(key[0], project, found))
        elif said.uid and said.project:  # the resource has expired before
            await self._store.delete_prefix(names.job_prefix(key[0], said.project, said.uid))

    # ── the catalogue ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _catalogue_for_ever(self) -> None:
        said: dict[str, bytes] = {}
        said_at = 0.0
        while True:
            now = time.monotonic()
            again = now - said_at > _CATALOGUE_REPEAT
            for namespace in sorted(self._world.enabled):
                document = catalogue_document.dump_json(self._world.catalogue(namespace), exclude_none=True)
                if again or said.get(namespace) != document:
                    with contextlib.suppress(Unavailable):
                        key = names.catalogue_key(namespace)
                        await self._bus.put_document(names.CATALOGUE_BUCKET, key, document)
                        said[namespace] = document
            if again:
                said_at = now
            await asyncio.sleep(0.5)

    # ── questions ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_get(self, subject: str, data: bytes) -> GotJob:
        asked = subjects.parse(subject)
        if not isinstance(asked, subjects.JobQuery):
            raise TypeError(subject)
        return GotJob(found=self._snapshot((asked.namespace, GetJob.model_validate_json(data).name)))

    async def _on_list(self, subject: str, data: bytes) -> ListedJobs:
        asked = subjects.parse(subject)
        if not isinstance(asked, subjects.JobQuery):
            raise TypeError(subject)
        query = ListJobs.model_validate_json(data)
        if query.names:
            found = [self._snapshot((asked.namespace, name)) for name in query.names[: query.limit]]
            return ListedJobs(items=tuple(snapshot for snapshot in found if snapshot))
        wanted = [name for name in self._jobs.in_namespace(asked.namespace) if name > query.after]
        items: list[Snapshot] = []
        size = 0
        for name in wanted[: query.limit]:
            snapshot = self._snapshot((asked.namespace, name))
            if snapshot is not None:
                size += len(snapshot.model_dump_json(exclude_none=True))
                if items and size > _PAGE_BYTES:
                    break
                items.append(snapshot)
        more = items[-1].job.metadata.name if items and wanted[-1] != items[-1].job.metadata.name else ""
        return ListedJobs(items=tuple(items), more=more)

    def _snapshot(self, key: Key) -> Snapshot | None:
        """As it was last written, with its place in the line."""
        job = self._jobs.find(key)
        if job is None:
            return None
        placed = job.model_copy(update={"status": self._placed(job)})
        return Snapshot(job=placed, version=int(job.metadata.resource_version))

    def _placed(self, job: GenerationJob) -> GenerationJobStatus:
        return self._estimates.placed(job, self._turns.position(job), self._fleet)


def _place_of(job: GenerationJob) -> int | None:
    """As its status says."""
    return job.status.queue.position if job.status.queue else None


def _manifest(asked: GenerationJob, headers: dict[str, str]) -> dict[str, Any]:
    """What a command asks for, as a resource. The API server gives it its uid and time."""
    meta: ObjectMeta = asked.metadata
    annotations = dict(meta.annotations)
    if "traceparent" in headers:
        annotations.setdefault(names.ANNOTATION_TRACEPARENT, headers["traceparent"])
    return {
        "apiVersion": names.API_VERSION,
        "kind": "GenerationJob",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": {**meta.labels, names.LABEL_PROJECT: asked.spec.project},
            "annotations": annotations,
        },
        "spec": asked.spec.model_dump(mode="json", exclude_defaults=True),
    }
