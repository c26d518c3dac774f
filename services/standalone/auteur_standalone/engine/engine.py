"""The engine: one asyncio process that observes, decides by auteur_lifecycle, writes once, then announces and acts.

Every change is made in memory at once (nothing awaits between looking and deciding), queued for the ledger, and acted
upon when the ledger has it. So there are no locks, and a crash at any point leaves the truth on disk.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

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
    Failure,
    FunctionRunner,
    GenerationJob,
    GenerationJobStatus,
    Progress,
)
from auteur_contracts.vocabulary import Fault, Reason
from auteur_kit import streams, trace
from auteur_kit.announcer import Announcer
from auteur_kit.bus import Bus, Consumer, Delivery
from auteur_kit.clock import Clock
from auteur_kit.grants import Granter, refused
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle import status as life
from auteur_lifecycle.estimate import Estimates
from auteur_lifecycle.expiry import may_delete
from auteur_lifecycle.facts import envelope, facts_between
from auteur_lifecycle.fleet import Fleet
from auteur_lifecycle.refusal import Refusal
from auteur_standalone.engine.catalogue import RunnerFolder, catalogue_document, readiness
from auteur_standalone.engine.ledger import Ledger
from auteur_standalone.engine.machine import gpu_memory_gigabytes
from auteur_standalone.engine.settings import EngineSettings
from auteur_standalone.engine.unfinished import Key, UnfinishedJobs

log = get_logger()
SOURCE = "engine"
_TICK = 0.25
_CATALOGUE_EVERY = 1.0
_CATALOGUE_REPEAT = 2.0
"""NATS forgets the catalogue when it restarts (it lies in memory), so it is put again."""
_PROGRESS_EVERY = 1.0
_PROGRESS_WRITES = 50
_ORDER_REPEAT = 15.0
"""Seconds after which an unclaimed order is put again: the queue may have lost it. Claims make that harmless."""
_COMMAND_REPEAT = 5.0
_EXPIRY_EVERY = 5.0
_PAGE_BYTES = 512 * 1024
"""Of resources in one answer: a NATS server takes messages of 1 MB if nobody says otherwise."""
_RUN_AGAIN_GAP = 2.0
"""A tick this late means that we slept, not that the workers did."""


class Engine:
    def __init__(self, *, bus: Bus, store: Store, ledger: Ledger, settings: EngineSettings, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._granter = Granter(store, settings.secret.get_secret_value().encode(), settings.max_output_bytes)
        self._announcer = Announcer(bus)
        self._folder = RunnerFolder(settings.runners)
        self._cards = gpu_memory_gigabytes()
        self._catalogue: list[FunctionRunner] = []
        self._fleet = Fleet()
        self._boot = uuid.uuid4().hex[:8]

        self._jobs = UnfinishedJobs(self._cards)
        self._progress: dict[str, tuple[int, Progress]] = {}
        self._estimates = Estimates()
        self._deleting: set[str] = set()
        """uids whose rows are on their way out: their names are free already."""
        self._tasks: set[asyncio.Task[None]] = set()

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Until cancelled."""
        await self._bus.ensure_streams()
        self._load()
        self._fleet.listen_from(time.monotonic())
        await self._bus.listen(subjects.HEARTBEATS, self._on_heartbeat)
        for fact in (subjects.Fact.PROGRESSED, subjects.Fact.PREVIEWED):
            await self._bus.listen(f"auteur.event.v1.*.*.job.*.{fact.value}", self._on_progress)
        await self._bus.answer(subjects.CLAIMS, self._on_claim)
        await self._bus.answer("auteur.query.v1.*.job.get", self._on_get)
        await self._bus.answer("auteur.query.v1.*.job.list", self._on_list)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._announcer.run())
            group.create_task(self._tick_for_ever())
            group.create_task(self._catalogue_for_ever())
            group.create_task(
                self._bus.consume(Consumer(streams.COMMANDS, "engine", subjects.COMMANDS, batch=128), self._on_commands)
            )
            group.create_task(
                self._bus.consume(Consumer(streams.REPORTS, "engine", subjects.REPORTS, batch=128), self._on_reports)
            )
            ready()

    def _load(self) -> None:
        """What the last life left unfinished. Orders that nobody claimed are put again."""
        self._catalogue = self._folder.read()
        for snapshot in self._ledger.unfinished():
            job = snapshot.job
            self._remember(job, snapshot.version)
            if job.status.dispatched and not job.status.running:
                self._order(job)
        for uid in self._jobs.uids():  # what happened to others just before the end of that life, or while nobody lived
            self._reconcile(uid)
        log.info("engine loaded", unfinished=len(self._jobs))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ── one change ────────────────────────────────────────────────────────────────────────────────────────────────

    def _commit(
        self, job: GenerationJob, status: GenerationJobStatus, *, old: GenerationJobStatus | None = None
    ) -> "asyncio.Future[GenerationJob]":
        """Takes the new status into memory, queues the write, announces when it is on disk; then the future is done.

        `job` may carry a changed spec. Without any change nothing is written.
        """
        future: asyncio.Future[GenerationJob] = asyncio.get_running_loop().create_future()
        before = job.status if old is None else old
        known = self._jobs.get(job.metadata.uid)
        changed = job.model_copy(update={"status": status})
        if known is not None and known == changed:
            future.set_result(known)
            return future
        version = self._ledger.next_version()
        meta = job.metadata.model_copy(update={"resource_version": str(version)})
        changed = changed.model_copy(update={"metadata": meta})
        self._remember(changed, version)
        now = self._clock()
        said = [envelope(changed, fact, source=SOURCE, now=now) for fact in facts_between(before, status, version)]

        def on_commit() -> None:
            self._announcer.say(*said)
            if status.finished:
                self._forget(changed, version)
            if not future.cancelled():
                future.set_result(changed)

        self._ledger.put(changed, version, on_commit)
        return future

    def _remember(self, job: GenerationJob, version: int) -> None:
        if job.status.finished:
            self._progress.pop(job.metadata.uid, None)
        self._jobs.remember(job, version, now=self._clock(), monotonic=time.monotonic())

    def _forget(self, job: GenerationJob, version: int) -> None:
        """A finished job leaves memory; those that wait for it look again."""
        if self._jobs.forget(job, version):
            self._look_again(job.key)
            self._dispatch()

    def _look_again(self, key: Key) -> None:
        """Those that wait for this job decide anew."""
        for waiting in self._jobs.waiting_for(key):
            self._reconcile(waiting)

    def _seen(self, job: GenerationJob, *, worker_silent: bool = False) -> life.Seen:
        def lookup(name: str) -> GenerationJob | None:
            return self._find((job.metadata.namespace, name))

        return life.Seen(self._catalogue, lookup, worker_silent, self._store.bucket)

    def _find(self, key: Key) -> GenerationJob | None:
        """Memory first: it is ahead of the disk."""
        known = self._jobs.named(key)
        if known is None:
            snapshot = self._ledger.find(*key)
            known = snapshot.job if snapshot else None
        return None if known is None or known.metadata.uid in self._deleting else known

    def _reconcile(self, uid: str, *, worker_silent: bool = False) -> None:
        """Looks again at one job and puts down what is true of it now."""
        job = self._jobs.get(uid)
        if job is None:
            return
        status = life.next_status(job, self._seen(job, worker_silent=worker_silent), self._clock())
        if status is not job.status and status != job.status:
            self._commit(job, status)
        else:  # a timer that went off is gone
            self._jobs.set_timer(job, now=self._clock(), monotonic=time.monotonic())
        self._dispatch()

    # ── dispatch ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _free(self, pool: str) -> int:
        """How many more orders the pool's workers could take now: ready ones, less the orders on their way."""
        ready = self._fleet.count(pool, WorkerState.READY, time.monotonic())
        return min(ready - self._jobs.orders_on_their_way(pool), self._settings.max_active - self._jobs.active)

    def _dispatch(self) -> None:
        """As many as workers are free: a slot goes to whoever is first over all pools that could use it."""
        while (job := self._jobs.next_for(self._free)) is not None:
            self._commit(job, life.dispatch(job, self._clock())).add_done_callback(self._after_dispatch)

    def _after_dispatch(self, written: "asyncio.Future[GenerationJob]") -> None:
        job = written.result()
        if job.status.dispatched and not job.status.running:
            self._order(job)

    def _order(self, job: GenerationJob, repeat: int = 0) -> None:
        plan = job.status.plan
        if plan is None:
            return
        order = Order.of(job, plan.pool, job.status.attempt)
        headers = trace.headers_of(job.metadata.annotations)
        msg_id = f"{order.uid}-{order.attempt}-{self._boot}-{repeat}"
        self._spawn(self._put_order(order, msg_id, headers))

    async def _put_order(self, order: Order, msg_id: str, headers: dict[str, str]) -> None:
        # A failure here is mended by the repeat of unclaimed orders.
        with contextlib.suppress(Unavailable):
            await self._bus.publish(subjects.Work(order.pool, order.uid), order, msg_id=msg_id, headers=headers)

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_commands(self, batch: list[Delivery]) -> None:
        """All are obeyed in their order, at once; each is acknowledged when what it changed is on disk."""
        done = [self._on_command(delivery) for delivery in batch]
        for delivery, work in zip(batch, done, strict=True):
            if isinstance(work, _Erasing):
                self._spawn(self._settle(delivery, work.files_gone))  # the store may be slow: nobody waits for it
            else:
                await self._settle(delivery, work)

    async def _settle(self, delivery: Delivery, work: "asyncio.Future[Any] | None") -> None:
        try:
            if work is not None:
                await work
        except Unavailable as error:
            log.warning("command waits", subject=delivery.subject, error=str(error))
            await delivery.nak(_COMMAND_REPEAT)
        else:
            await delivery.ack()

    def _on_command(self, delivery: Delivery) -> "asyncio.Future[Any] | _Erasing | None":
        """What to wait for before the command is acknowledged."""
        try:
            subject = subjects.parse(delivery.subject)
            if not isinstance(subject, subjects.JobCommand):
                raise ValueError(f"{delivery.subject} is no command")  # noqa: TRY301, TRY004  # one answer to all nonsense
            return self._obey(subject, delivery.data, delivery.headers)
        except (ValidationError, ValueError) as error:
            log.warning("command not understood", subject=delivery.subject, error=str(error)[:500])
            return None

    def _obey(
        self, subject: subjects.JobCommand, data: bytes, headers: dict[str, str]
    ) -> "asyncio.Future[Any] | _Erasing | None":
        key = (subject.namespace, subject.name)
        match subject.verb:
            case subjects.Verb.SUBMIT:
                asked = Submit.model_validate_json(data).job
                try:
                    return self._submit(asked, key, headers)
                except (ArithmeticError, LookupError, TypeError) as error:  # a fault of ours: said, not tried for ever
                    log.exception("job cannot be planned", job=asked.metadata.name)
                    message = f"It cannot be planned, by a fault of Auteur: {error!r}."
                    self._reject(asked, Refusal(Reason.PLATFORM_FAILED, message, "", "Tell its maintainers."))
                    return None
            case subjects.Verb.CANCEL:
                return self._cancel(key, Cancel.model_validate_json(data).by)
            case subjects.Verb.SUSPEND | subjects.Verb.RESUME:
                return self._suspend(key, suspend=subject.verb is subjects.Verb.SUSPEND)
            case subjects.Verb.RELEASE:
                return self._release(key, Release.model_validate_json(data))
            case subjects.Verb.DELETE:
                return self._delete(key, Delete.model_validate_json(data))

    def _submit(
        self, asked: GenerationJob, key: Key, headers: dict[str, str]
    ) -> "asyncio.Future[GenerationJob] | None":
        if asked.key != key:
            raise ValueError(f"the job {asked.key} came on the subject of {key}")
        request = asked.metadata.annotations.get(names.ANNOTATION_REQUEST_ID, "")
        existing = self._find(key)
        if existing is not None:
            same = existing.metadata.annotations.get(names.ANNOTATION_REQUEST_ID, "") == request
            if not same:
                self._reject(asked, Refusal(Reason.NAME_TAKEN, f'A job named "{key[1]}" exists.', "metadata.name"))
            return None
        annotations = dict(asked.metadata.annotations)
        if "traceparent" in headers:
            annotations.setdefault(names.ANNOTATION_TRACEPARENT, headers["traceparent"])
        now = self._clock()
        job = asked.model_copy(
            update={
                "metadata": asked.metadata.model_copy(
                    update={
                        "uid": str(uuid.uuid4()),
                        "generation": 1,
                        "creation_timestamp": asked.metadata.creation_timestamp or now,
                        "labels": {**asked.metadata.labels, names.LABEL_PROJECT: asked.spec.project},
                        "annotations": annotations,
                    }
                ),
                "status": GenerationJobStatus(
                    trace_id=trace.trace_id(annotations.get(names.ANNOTATION_TRACEPARENT, ""))
                ),
            }
        )
        status = life.next_status(job, self._seen(job), now)
        ready = job.model_copy(update={"status": status})
        pool = status.plan.pool if status.plan else ""
        if self._jobs.waits_for_worker(ready) and self._jobs.is_line_empty(pool) and self._free(pool) > 0:
            # Nobody waits and a worker is free: accepted and dispatched by one write.
            written = self._commit(ready, life.dispatch(ready, now), old=job.status)
            written.add_done_callback(self._after_dispatch)
            return written
        written = self._commit(ready, status, old=job.status)
        self._look_again(key)
        return written

    def _reject(self, asked: GenerationJob, refusal: Refusal) -> None:
        """No job was made: said as a fact under a uid that no job has."""
        meta = asked.metadata.model_copy(update={"uid": str(uuid.uuid4())})
        job = asked.model_copy(update={"metadata": meta, "status": GenerationJobStatus()})
        now = self._clock()
        status = life.refuse(job, refusal, now)
        for fact in facts_between(job.status, status, 0):
            self._announcer.say(envelope(job, fact, source=SOURCE, now=now))

    def _cancel(self, key: Key, by: str) -> "asyncio.Future[GenerationJob] | None":
        job = self._jobs.named(key)
        if job is None or job.status.finished:
            return None
        cancelled = _with_spec(job, cancel=True)
        written = self._commit(cancelled, life.cancel(cancelled, by, self._clock()))
        if job.status.running:
            self._spawn(self._bus.say(subjects.CancelSignal(job.metadata.uid, job.status.attempt), b""))
        return written

    def _suspend(self, key: Key, *, suspend: bool) -> "asyncio.Future[GenerationJob] | None":
        job = self._jobs.named(key)
        if job is None or job.status.finished or job.spec.suspend is suspend:
            return None
        changed = _with_spec(job, suspend=suspend)
        if suspend and job.status.running:
            self._spawn(self._bus.say(subjects.CancelSignal(job.metadata.uid, job.status.attempt), b""))
        written = self._commit(changed, life.next_status(changed, self._seen(changed), self._clock()))
        self._dispatch()
        return written

    def _release(self, key: Key, said: Release) -> "asyncio.Future[GenerationJob] | None":
        """The archive has it: from now on its time to live counts."""
        job = self._find(key)
        if job is None or job.metadata.uid != said.uid or not job.status.finished or job.status.archived_time:
            return None
        archived = job.status.model_copy(update={"archived_time": self._clock()})
        return self._commit(job, archived)

    def _delete(self, key: Key, said: Delete) -> "_Erasing | None":
        """Its name is free at once; its row goes before its files."""
        job = self._find(key)
        if job is not None and said.uid in ("", job.metadata.uid):
            if not job.status.finished:
                self._cancel(key, said.by)
            uid, project = job.metadata.uid, job.spec.project
        elif said.uid and said.project:  # the resource has expired before
            uid, project = said.uid, said.project
        else:
            return None
        self._deleting.add(uid)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ledger.delete(uid, lambda: gone.set_result(None))
        self._look_again(key)
        return _Erasing(asyncio.ensure_future(self._erase(key[0], project, uid, gone)))

    async def _erase(self, namespace: str, project: str, uid: str, row_gone: "asyncio.Future[None]") -> None:
        await row_gone
        self._deleting.discard(uid)
        await self._store.delete_prefix(names.job_prefix(namespace, project, uid))

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_heartbeat(self, _subject: str, data: bytes) -> None:
        beat = Heartbeat.model_validate_json(data)
        self._fleet.hear(beat, time.monotonic())
        if beat.state is WorkerState.READY:
            self._dispatch()
        elif beat.uid:
            job = self._jobs.get(beat.uid)
            if job is None or not life.is_current(job, beat.attempt):
                # Cancelled, suspended or superseded: said again at each heartbeat until it is seen.
                await self._bus.say(subjects.CancelSignal(beat.uid, beat.attempt), b"")

    async def _on_claim(self, _subject: str, data: bytes) -> Grant | ClaimRefused:
        request = ClaimRequest.model_validate_json(data)
        job = self._jobs.named((request.namespace, request.name))

        def lookup(name: str) -> GenerationJob | None:
            return self._find((request.namespace, name))

        judged = life.claim(job, request, lookup, self._clock())
        if isinstance(judged, RefusalReason) or job is None:
            reason = judged if isinstance(judged, RefusalReason) else RefusalReason.UNKNOWN
            return refused(request, reason)
        if isinstance(judged, life.InputsGone):
            await self._commit(job, judged.status)
            return refused(request, RefusalReason.STALE)
        # Links first: once the claim is on disk, the worker must get its answer.
        grant = self._granter.grant(job, request, lookup, self._clock())
        await self._commit(job, judged.status)
        self._fleet.occupy(request.worker, request.uid, request.attempt)
        return grant

    async def _on_reports(self, batch: list[Delivery]) -> None:
        written = [self._on_report_safely(delivery.data) for delivery in batch]
        for delivery, future in zip(batch, written, strict=True):
            if future is not None:
                await future
            await delivery.ack()

    def _on_report_safely(self, data: bytes) -> "asyncio.Future[GenerationJob] | None":
        """A fault of ours in one report must not hold up the others: its attempt fails as the platform's."""
        try:
            return self._on_report(data)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            log.exception("report cannot be taken in")
            said = Report.model_validate_json(data)
            message = f"Its report cannot be taken in, by a fault of Auteur: {error!r}"[:2048]
            failure = Failure(fault=Fault.PLATFORM, reason=Reason.PLATFORM_FAILED, message=message)
            job = self._jobs.get(said.uid)
            return None if job is None else self._commit(job, life.fail_attempt(job, failure, self._clock()))

    def _on_report(self, data: bytes) -> "asyncio.Future[GenerationJob] | None":
        try:
            said = Report.model_validate_json(data)
        except ValidationError as error:
            log.warning("report not understood", error=str(error)[:500])
            return None
        job = self._jobs.get(said.uid)
        if job is None or not life.is_current(job, said.attempt):
            log.info("late report ignored", job=said.name, attempt=said.attempt, outcome=said.outcome.value)
            return None
        if not self._granter.believes(said, job):
            log.warning("report with a wrong token ignored", job=said.name, worker=said.worker)
            return None
        self._estimates.learn(job, said)
        return self._commit(job, life.report(job, said, self._clock()))

    async def _on_progress(self, _subject: str, data: bytes) -> None:
        said = Envelope.model_validate_json(data)
        job = self._jobs.get(said.uid)
        if job is None or not life.is_current(job, said.data.attempt):
            return
        _, before = self._progress.get(said.uid, (0, job.status.progress or Progress(phase="")))
        match said.data:
            case Progressed(progress=now):
                kept = now if now.preview_uri else now.model_copy(update={"preview_uri": before.preview_uri})
                self._progress[said.uid] = (said.data.attempt, kept)
            case Previewed(uri=uri):
                self._progress[said.uid] = (said.data.attempt, before.model_copy(update={"preview_uri": uri}))

    # ── what happens by itself ────────────────────────────────────────────────────────────────────────────────────

    async def _tick_for_ever(self) -> None:
        last = progress_at = expiry_at = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if now - last > _RUN_AGAIN_GAP or not self._bus.connected:
                self._fleet.listen_from(now)
            self._fleet.listen_from(self._bus.connected_since)
            last = now
            self._tick_workers(now)
            self._tick_timers(now)
            self._tick_orders(now)
            if now >= progress_at + _PROGRESS_EVERY:
                progress_at = now
                self._write_progress()
            if now >= expiry_at + _EXPIRY_EVERY:
                expiry_at = now
                self._expire()

    def _tick_workers(self, now: float) -> None:
        for job in self._jobs.running():
            if self._fleet.silent(job.status.worker, now):
                log.warning("worker lost", job=job.metadata.name, worker=job.status.worker)
                self._reconcile(job.metadata.uid, worker_silent=True)
        self._fleet.forget_lost(now)

    def _tick_timers(self, now: float) -> None:
        for uid in self._jobs.take_due(now):
            self._reconcile(uid)

    def _tick_orders(self, now: float) -> None:
        for job in self._jobs.unclaimed(now - _ORDER_REPEAT):
            plan = job.status.plan
            if plan and self._fleet.count(plan.pool, WorkerState.READY, now):
                self._jobs.ordered_again(job.metadata.uid, now)
                self._order(job, repeat=int(now))

    def _write_progress(self) -> None:
        """At most once a second a job and 50 a tick: status is for those who look, events for those who watch."""
        for uid in tuple(self._progress)[:_PROGRESS_WRITES]:
            attempt, seen = self._progress.pop(uid)
            job = self._jobs.get(uid)
            if job is not None:
                self._commit(job, life.progress(job, attempt, seen))

    def _expire(self) -> None:
        now = self._clock()
        for snapshot in self._ledger.expired(now, 500):
            namespace = snapshot.job.metadata.namespace
            if may_delete(snapshot.job, self._jobs.needed(namespace), now):
                self._ledger.delete(snapshot.job.metadata.uid, lambda: None)

    async def _catalogue_for_ever(self) -> None:
        said, said_at = b"", 0.0
        while True:
            now = time.monotonic()
            before = {runner.metadata.name: runner.status.ready for runner in self._catalogue}
            self._catalogue = [
                runner.model_copy(
                    update={"status": readiness(runner, self._fleet.of_runner(runner.metadata.name), self._cards)}
                )
                for runner in self._folder.read()
            ]
            for runner in self._catalogue:
                if before.get(runner.metadata.name) is not runner.status.ready:
                    self._runner_changed(runner)
            document = catalogue_document.dump_json(self._catalogue, exclude_none=True)
            if document != said or now - said_at > _CATALOGUE_REPEAT:
                with contextlib.suppress(Unavailable):
                    key = names.catalogue_key(self._settings.namespace)
                    await self._bus.put_document(names.CATALOGUE_BUCKET, key, document)
                    said, said_at = document, now
            await asyncio.sleep(_CATALOGUE_EVERY)

    def _runner_changed(self, runner: FunctionRunner) -> None:
        """Those who wait for it learn why: a bounded number of writes, the rest learn when their turn comes."""
        pool = names.pool(runner.metadata.name)
        for uid in self._jobs.in_line(pool)[:100]:
            self._reconcile(uid)
        self._dispatch()

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
        rows, more = self._ledger.unreleased(asked.namespace, query.after, query.limit, _PAGE_BYTES)
        items = tuple(self._snapshot(row.job.key) or row for row in rows)
        return ListedJobs(items=items, more=rows[-1].job.metadata.name if more else "")

    def _snapshot(self, key: Key) -> Snapshot | None:
        """As it is on disk or newer, with its place in the line."""
        job = self._jobs.named(key)
        if job is None:
            return self._ledger.find(*key)
        version = self._jobs.version(job.metadata.uid)
        return Snapshot(job=job.model_copy(update={"status": self._placed(job)}), version=version)

    def _placed(self, job: GenerationJob) -> GenerationJobStatus:
        return self._estimates.placed(job, self._jobs.position(job), self._fleet)


@dataclass(frozen=True)
class _Erasing:
    """A delete that the ledger has been told of."""

    files_gone: "asyncio.Future[None]"


def _with_spec(job: GenerationJob, **fields: object) -> GenerationJob:
    """A changed spec is a new generation."""
    meta = job.metadata.model_copy(update={"generation": job.metadata.generation + 1})
    return job.model_copy(update={"metadata": meta, "spec": job.spec.model_copy(update=fields)})
