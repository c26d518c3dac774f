"""What one can do with generations: create, look, list, cancel, retry, delete, apply. Knows no HTTP."""

import asyncio
import contextlib
import hashlib
import secrets
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from auteur_contracts import names
from auteur_contracts.catalogue import Platform
from auteur_contracts.commands import Cancel, Delete
from auteur_contracts.errors import AuteurError, Code, Conflict, InvalidRequest, NotFound
from auteur_contracts.model import JsonObject
from auteur_contracts.resources import (
    GenerationJob,
    GenerationJobSpec,
    GenerationJobStatus,
    JobInput,
    ObjectMeta,
    Output,
    OutputOf,
    Plan,
)
from auteur_contracts.subjects import Verb
from auteur_contracts.vocabulary import ApiStatus, Quality, Reason
from auteur_contracts.web.http import (
    AppliedReply,
    ApplyOutcome,
    CreatedGeneration,
    CreateGeneration,
    CreateUpload,
    GenerationInput,
    UploadReply,
)
from auteur_contracts.web.socket import SnapshotTask
from auteur_gateway import views
from auteur_gateway.catalogue import Catalogue
from auteur_gateway.changes import Configured, Immutable, compare
from auteur_gateway.commands import Commands
from auteur_gateway.database import repository as db
from auteur_gateway.database.models import JobRow, OutboxRow
from auteur_gateway.database.repository import Filter, Repository
from auteur_gateway.database.writer import Admission, Key, Writer
from auteur_gateway.errors import of_pydantic
from auteur_gateway.ids import Ids
from auteur_gateway.naming import job_name, numbered
from auteur_gateway.outbox import Relay
from auteur_gateway.overlay import Seen
from auteur_gateway.projection import Projection
from auteur_gateway.sources import pinned, settled, sources_of
from auteur_kit.clock import Clock
from auteur_kit.store import Store
from auteur_lifecycle.capabilities import ONE_MACHINE
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.resolve import resolve

_CODES = {
    Reason.UNKNOWN_FUNCTION: Code.UNKNOWN_FUNCTION,
    Reason.UNKNOWN_RUNNER: Code.UNKNOWN_RUNNER,
    Reason.TIER_NOT_OFFERED: Code.TIER_NOT_OFFERED,
    Reason.INVALID_PARAMETER: Code.INVALID_PARAMETER,
    Reason.INVALID_INPUT: Code.INVALID_INPUT,
    Reason.NOT_SUPPORTED: Code.NOT_SUPPORTED,
}
_NAME_TRIES = 4
_SNAPSHOT_TASKS = 100
LARGEST_JOB = 384 * 1024
"""Bytes as a command, of the 1 MiB that a NATS message holds by default: answers have it with its plan."""


@dataclass(frozen=True)
class Rules:
    """Settings that decide what is created."""

    namespace: str
    default_quality: Quality
    task_timeout: timedelta
    link_lifetime: timedelta
    upload_lifetime: timedelta
    platform: Platform = ONE_MACHINE


@dataclass(frozen=True)
class Created:
    reply: CreatedGeneration
    replayed: bool


@dataclass(frozen=True)
class Found:
    row: JobRow
    seen: Seen


class Generations:
    def __init__(
        self,
        *,
        rules: Rules,
        catalogue: Catalogue,
        repository: Repository,
        writer: Writer,
        relay: Relay,
        projection: Projection,
        commands: Commands,
        store: Store,
        ids: Ids,
        now: Clock,
    ) -> None:
        self.rules = rules
        self._catalogue = catalogue
        self._repository = repository
        self._writer = writer
        self._relay = relay
        self._projection = projection
        self._commands = commands
        self._store = store
        self._ids = ids
        self._now = now

    # ── creating ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, request: CreateGeneration, *, key: str = "") -> Created:
        """Returns after the commit. `key` is the caller's Idempotency-Key."""
        request = _with_prompt(request)
        prompt = request.params.get("prompt")
        spec = self._spec(request)
        for _ in range(_NAME_TRIES):
            base = request.name or job_name(
                prompt if isinstance(prompt, str) else "", request.function, secrets.token_bytes(5)
            )
            own = numbered(base, request.count)
            settled_spec = await self._settled(spec, own)
            jobs = [self._job(name, settled_spec, request.node_id) for name in own]
            try:
                return await self._admit(jobs, key=key, fingerprint=_fingerprint(request))
            except Conflict as error:
                if error.code is not Code.NAME_TAKEN or request.name:
                    raise
        raise Conflict("no free name was found; give one")

    def _spec(self, request: CreateGeneration) -> GenerationJobSpec:
        fields: dict[str, Any] = {
            "function": request.function,
            "quality": request.quality or self.rules.default_quality,
            "runner": request.runner,
            "params": request.params,
            "inputs": tuple(_job_input(item) for item in request.inputs),
            "project": request.project,
            "priority": request.priority,
            "deadline": request.deadline or self.rules.task_timeout,
        }
        if request.retries is not None:
            fields["retries"] = request.retries
        try:
            return GenerationJobSpec.model_validate(fields)
        except ValidationError as error:
            raise of_pydantic(error) from error

    def _job(
        self, name: str, spec: GenerationJobSpec, node_id: str | None = None, retry_of: str | None = None
    ) -> GenerationJob:
        labels = {names.LABEL_PROJECT: spec.project}
        if retry_of:
            labels[names.LABEL_RETRY_OF] = retry_of
        notes = {names.ANNOTATION_REQUEST_ID: uuid.uuid4().hex}
        if node_id:
            if not node_id.isprintable():
                raise InvalidRequest("node_id: has characters that cannot be shown", field="node_id")
            notes[names.ANNOTATION_NODE_ID] = node_id
        metadata = ObjectMeta(
            name=name,
            namespace=self.rules.namespace,
            labels=labels,
            annotations=notes,
            creation_timestamp=self._now(),
        )
        return GenerationJob(metadata=metadata, spec=spec)

    async def _settled(
        self, spec: GenerationJobSpec, own: Collection[str], *, unknown: bool = False
    ) -> GenerationJobSpec:
        """With the outputs of finished jobs by where they lie. `own` are the names of the request's own jobs."""
        wanted = sources_of(spec)
        if itself := next(iter(wanted.intersection(own)), None):
            raise InvalidRequest(
                f'inputs: "{itself}" is a job of this very request, and a job cannot wait for itself',
                code=Code.INVALID_INPUT,
                field="inputs",
            )
        sources: dict[str, GenerationJob] = {}
        for name in wanted:
            row = await self._repository.find(name)
            if row is not None:
                sources[name] = row.job.model_copy(update={"status": self._projection.seen(row).status})
        return settled(spec, sources, unknown=unknown)

    def check(self, job: GenerationJob) -> None:
        """Raises InvalidRequest for what could never run, before anything is stored or taken."""
        try:
            planned = resolve(job, self._catalogue.require(), platform=self.rules.platform, bucket=self._store.bucket)
        except ValidationError as error:  # the schemas of a runner let through what no plan can hold
            raise of_pydantic(error, code=Code.INVALID_PARAMETER) from error
        if isinstance(planned, Refusal):
            raise InvalidRequest(
                planned.text,
                code=_CODES.get(planned.reason, Code.INVALID_REQUEST),
                field=planned.field,
                remedy=planned.remedy or None,
            )

    async def _admit(self, jobs: Sequence[GenerationJob], *, key: str = "", fingerprint: str = "") -> Created:
        self.check(jobs[0])
        rows = tuple(self._row(job) for job in jobs)
        commands = tuple(self._commands.submit(row) for row in rows)
        check_size(commands[0])
        reply = created_reply(rows)
        digest = hashlib.sha256(f"{self.rules.namespace}/{key}".encode()).hexdigest() if key else ""
        admission = Admission(
            rows,
            commands,
            Key(digest, fingerprint, reply.model_dump_json(), self._now()) if key else None,
        )
        admitted = await self._writer.admit(admission)
        if admitted.reply is not None:
            return Created(CreatedGeneration.model_validate_json(admitted.reply), replayed=True)
        self._projection.track(rows, reused=admitted.reused)
        self._relay.kick(admission.commands)
        return Created(reply, replayed=False)

    def _row(self, job: GenerationJob) -> JobRow:
        return JobRow(
            id=self._ids.next(),
            tomb=0,
            uid="",
            request_id=job.metadata.annotations[names.ANNOTATION_REQUEST_ID],
            state=ApiStatus.QUEUED,
            version=0,
            job=job,
            status=GenerationJobStatus(),
            created_at=job.metadata.creation_timestamp or self._now(),
        )

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def find(self, name: str) -> Found:
        row = await self._repository.find(name) if names_a_job(name) else None
        if row is None:
            raise NotFound(
                f'there is no generation "{name[:100]}" in namespace {self.rules.namespace}; '
                "GET /v1/generations lists those there are",
                kind="generation",
                name=name[:100],
            )
        return self._found(row)

    def _found(self, row: JobRow) -> Found:
        return Found(self._projection.current(row), self._projection.seen(row))

    async def page(self, wanted: Filter, limit: int) -> tuple[list[Found], int | None]:
        """Newest first, and the id to continue before."""
        rows = await self._repository.page(wanted, limit + 1)
        more = rows[limit - 1].id if len(rows) > limit else None
        return [self._found(row) for row in rows[:limit]], more

    async def snapshot(self, project: str) -> tuple[SnapshotTask, ...]:
        rows = await self._repository.page(Filter(project=project), _SNAPSHOT_TASKS)
        found = [self._found(row) for row in rows]
        return tuple(views.snapshot_task(one.row, one.seen) for one in found)

    # ── changing ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, name: str, *, by: str) -> Found:
        """Idempotent: a finished job stays as it is."""
        found = await self.find(name)
        if found.seen.status.finished:
            return found
        spec = found.row.job.spec.model_copy(update={"cancel": True})
        row = replace(found.row, job=found.row.job.model_copy(update={"spec": spec}))
        await self._replace(row, [self._commands.make(name, Verb.CANCEL, Cancel(by=by))])
        return self._found(row)

    async def _replace(self, row: JobRow, commands: Sequence[OutboxRow]) -> None:
        await self._writer.change(db.replace_job(row, commands))
        self._relay.kick(commands)

    async def retry(self, name: str) -> Created:
        """A new job with the plan of the old one: the same runner, parameters and seed make the same bytes."""
        found = await self.find(name)
        plan = found.seen.status.plan
        if not found.seen.status.finished:
            raise Conflict(
                f"{name} has not finished; cancel it first, or wait", code=Code.NOT_FINISHED, status=found.seen.view.api
            )
        spec = pinned(found.row.job.spec, plan)
        again = await self._settled(spec, ())
        node_id = found.row.job.metadata.annotations.get(names.ANNOTATION_NODE_ID)
        prompt = spec.params.get("prompt")
        for _ in range(_NAME_TRIES):
            base = job_name(prompt if isinstance(prompt, str) else "", spec.function, secrets.token_bytes(5))
            try:
                return await self._admit([self._job(base, again, node_id, retry_of=name)])
            except Conflict as error:
                if error.code is not Code.NAME_TAKEN:
                    raise
            except InvalidRequest as error:
                raise _cannot_be_repeated(name, plan, error) from error
        raise Conflict("no free name was found; try again")

    async def delete(self, name: str, *, by: str) -> None:
        """Forgets the job and its files, here and there; one that is not finished is cancelled first."""
        found = await self.find(name)
        order = Delete(uid=found.row.uid, project=found.row.job.spec.project, by=by)
        commands = [self._commands.make(name, Verb.DELETE, order)]
        if not found.seen.status.finished:
            commands.insert(0, self._commands.make(name, Verb.CANCEL, Cancel(by=by)))
        await self._writer.change(db.bury(found.row, commands))
        self._projection.forget(found.row)
        self._relay.kick(commands)

    # ── resources ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, name: str, document: JsonObject, *, by: str) -> AppliedReply:
        wanted = self._parse(name, document)
        row = await self._repository.find(name)
        if row is None:
            spec = await self._settled(wanted.spec, (), unknown=True)
            job = self._job(name, spec, wanted.metadata.annotations.get(names.ANNOTATION_NODE_ID))
            metadata = job.metadata.model_copy(
                update={
                    "labels": wanted.metadata.labels | job.metadata.labels,
                    "annotations": wanted.metadata.annotations | job.metadata.annotations,
                }
            )
            await self._admit([job.model_copy(update={"metadata": metadata})])
            return self._applied(ApplyOutcome.CREATED, name)
        spec = await self._as_stored(row, wanted.spec)
        match compare(row.job.spec, spec):
            case Immutable(path):
                raise Conflict(
                    f'{path} of the generation "{name}" cannot be changed: a job is one run of what it was created '
                    "with. Apply it under another name.",
                    code=Code.IMMUTABLE,
                    path=path,
                )
            case Configured(verbs):
                commands = [self._commands.make(name, verb, Cancel(by=by)) for verb in verbs]
                await self._replace(replace(row, job=row.job.model_copy(update={"spec": spec})), commands)
                return self._applied(ApplyOutcome.CONFIGURED, name)
            case _:
                return self._applied(ApplyOutcome.UNCHANGED, name)

    async def _as_stored(self, row: JobRow, wanted: GenerationJobSpec) -> GenerationJobSpec:
        """The same document applied again is unchanged, though the job has its inputs by where they lie."""
        if not sources_of(wanted) or row.job.spec.inputs == wanted.inputs:
            return wanted
        with contextlib.suppress(InvalidRequest):  # then it differs, and that is what is said
            return await self._settled(wanted, (), unknown=True)
        return wanted

    def _applied(self, outcome: ApplyOutcome, name: str) -> AppliedReply:
        return AppliedReply(outcome=outcome, kind="GenerationJob", name=name, namespace=self.rules.namespace)

    def _parse(self, name: str, document: JsonObject) -> GenerationJob:
        try:
            job = GenerationJob.model_validate({key: value for key, value in document.items() if key != "status"})
        except ValidationError as error:
            raise of_pydantic(error) from error
        if job.metadata.name != name:
            raise InvalidRequest(
                f'metadata.name is "{job.metadata.name}" but the address says "{name[:100]}"', field="metadata.name"
            )
        if job.metadata.namespace != self.rules.namespace:
            raise self.other_namespace(job.metadata.namespace)
        return job

    def other_namespace(self, namespace: str) -> AuteurError:
        return NotFound(
            f'this gateway serves the namespace "{self.rules.namespace}", not "{namespace[:63]}"',
            kind="namespace",
            name=namespace[:63],
        )

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def output_link(self, name: str, output: str, *, download: bool) -> str:
        found = await self.find(name)
        wanted = next((one for one in found.seen.status.outputs if one.name == output), None)
        if wanted is None:
            raise _no_output(found, output)
        return await self._link(wanted.uri, download_name=f"{name}-{wanted.name}" if download else "")

    async def preview_link(self, name: str) -> str:
        found = await self.find(name)
        progress = found.seen.status.progress
        if progress is None or not progress.preview_uri:
            raise NotFound(
                f"{name} has no preview; they come while a job runs, if its runner makes them", kind="preview"
            )
        return await self._link(progress.preview_uri)

    async def _link(self, uri: str, *, download_name: str = "") -> str:
        try:
            bucket, key = names.parse_s3_uri(uri)
        except ValueError as error:
            raise NotFound("the output is not in the store") from error
        if bucket != self._store.bucket or not key.startswith(names.namespace_prefix(self.rules.namespace)):
            raise NotFound("the output is not in this namespace's store")
        return await asyncio.to_thread(
            self._store.link, key, expires=self.rules.link_lifetime, download_name=download_name
        )

    async def upload(self, request: CreateUpload) -> UploadReply:
        now = self._now()
        folder = names.short_id(secrets.token_bytes(10))
        prefix = f"{names.upload_prefix(self.rules.namespace, request.project)}{folder}/"
        form = await asyncio.to_thread(
            self._store.upload_form, prefix, max_bytes=request.bytes, expires=self.rules.upload_lifetime, now=now
        )
        key = f"{prefix}{request.file_name}"
        return UploadReply(
            uri=names.s3_uri(form.bucket, key),
            url=form.url,
            fields=form.fields | {"key": key, "Content-Type": request.media_type},
            expires_at=now + self.rules.upload_lifetime,
        )


def check_size(submit: OutboxRow) -> None:
    """What the bus takes, with room for what grows with a job: its plan says its parameters once more."""
    size = len(submit.payload.encode())
    if size > LARGEST_JOB:
        raise AuteurError(
            f"the job has {size // 1024} KiB and may have {LARGEST_JOB // 1024}; upload large things with "
            "POST /v1/uploads and name them as inputs",
            code=Code.TOO_LARGE,
        )


def created_reply(rows: Sequence[JobRow]) -> CreatedGeneration:
    first = rows[0]
    spec = first.job.spec
    return CreatedGeneration(
        job_id=first.name,
        project=spec.project,
        function=spec.function,
        quality=spec.quality,
        created_at=_whole_milliseconds(first.created_at),
        status_url=f"/v1/generations/{first.name}/status",
        node_id=first.job.metadata.annotations.get(names.ANNOTATION_NODE_ID),
        jobs=tuple(row.name for row in rows),
    )


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def names_a_job(name: str) -> bool:
    """Whether a job could be called so; what could not is not looked up."""
    try:
        ObjectMeta(name=name)
    except ValidationError:
        return False
    return True


def _with_prompt(request: CreateGeneration) -> CreateGeneration:
    if request.prompt is None:
        return request
    if request.params.get("prompt", request.prompt) != request.prompt:
        raise InvalidRequest("prompt and params.prompt differ; give one of them", field="prompt")
    return request.model_copy(update={"params": {**request.params, "prompt": request.prompt}, "prompt": None})


def _job_input(item: GenerationInput) -> JobInput:
    if (item.uri is None) == (item.job is None):
        raise InvalidRequest(
            f'input "{item.name}" needs either "uri" or "job", not both', code=Code.INVALID_INPUT, field="inputs"
        )
    if item.uri is not None:
        return JobInput(name=item.name, uri=item.uri)
    return JobInput(name=item.name, from_=OutputOf(job=item.job or "", output=item.output))


def _fingerprint(request: BaseModel) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()


def _cannot_be_repeated(name: str, plan: Plan | None, error: InvalidRequest) -> InvalidRequest:
    if plan is None or error.code is not Code.UNKNOWN_RUNNER:
        return error
    remedy = error.details.get("remedy") or ""
    return InvalidRequest(
        f'{name} ran on the runner "{plan.runner}", which is not registered any more, so it cannot be made again as it '
        f"was: create a new job instead. {remedy}".rstrip(),
        code=error.code,
        **error.details,
    )


def _no_output(found: Found, output: str) -> NotFound:
    there: tuple[Output, ...] = found.seen.status.outputs
    listed = ", ".join(one.name for one in there)
    hint = f"it has {listed}" if there else f"it has none (it is {found.seen.view.api.value})"
    return NotFound(f'{found.row.name} has no output "{output[:128]}": {hint}', kind="output", name=output[:128])
