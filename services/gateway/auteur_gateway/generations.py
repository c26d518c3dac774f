"""What one can do with generations: create, look, list, cancel, retry, delete. Knows no HTTP."""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ValidationError

from auteur_contracts import names
from auteur_contracts.commands import Cancel, Delete
from auteur_contracts.errors import Code, Conflict, InvalidRequest, NotFound
from auteur_contracts.resources import GenerationJob, GenerationJobSpec, ObjectMeta, Plan
from auteur_contracts.subjects import Verb
from auteur_contracts.vocabulary import Reason
from auteur_contracts.web.http import CreatedGeneration, CreateGeneration
from auteur_contracts.web.socket import SnapshotTask
from auteur_gateway import views
from auteur_gateway.catalogue import Catalogue
from auteur_gateway.commands import Commands
from auteur_gateway.database import repository
from auteur_gateway.database.admission import Admission, Key
from auteur_gateway.database.database import Database
from auteur_gateway.database.repository import Filter
from auteur_gateway.database.tables import JobRow
from auteur_gateway.drafts import (
    Rules,
    check_size,
    created_reply,
    fingerprint,
    metadata_of,
    names_a_job,
    row_of,
    spec_of,
    with_prompt,
)
from auteur_gateway.naming import job_name, numbered
from auteur_gateway.overlay import Seen
from auteur_gateway.projection.projection import Projection
from auteur_gateway.sources import pinned, settled, sources_of
from auteur_kit.clock import Clock
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.resolve import resolve
from auteur_web.errors import of_pydantic

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
        rules: Rules,
        catalogue: Catalogue,
        database: Database,
        projection: Projection,
        commands: Commands,
        now: Clock,
    ) -> None:
        self.rules = rules
        self._catalogue = catalogue
        self._database = database
        self._projection = projection
        self._commands = commands
        self._now = now

    # ── creating ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, request: CreateGeneration, *, key: str = "") -> Created:
        """Returns after the commit. `key` is the caller's Idempotency-Key."""
        request = with_prompt(request)
        spec = spec_of(request, self.rules)
        namespace = self.rules.namespace
        for _ in range(_NAME_TRIES):
            own = numbered(request.name or _new_name(spec), request.count)
            here = await self.settled(spec, own)
            metadata = [metadata_of(name, spec.project, namespace, node_id=request.node_id) for name in own]
            wanted = Key(self._digest(key), fingerprint(request), "", self._now()) if key else None
            try:
                return await self.admit([(one, here) for one in metadata], key=wanted)
            except Conflict as error:
                if error.code is not Code.NAME_TAKEN or request.name:
                    raise
        raise Conflict("no free name was found; give one")

    def _digest(self, key: str) -> str:
        return hashlib.sha256(f"{self.rules.namespace}/{key}".encode()).hexdigest()

    async def settled(
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
            row = await self.row(name)
            if row is not None:
                sources[name] = row.job.model_copy(update={"status": self._projection.seen(row).status})
        return settled(spec, sources, unknown=unknown)

    def check(self, job: GenerationJob) -> None:
        """Raises InvalidRequest for what could never run, before anything is stored or taken."""
        known = self._catalogue.require()
        try:
            planned = resolve(job, known.runners, platform=known.platform, bucket=self.rules.bucket)
        except ValidationError as error:  # the schemas of a runner let through what no plan can hold
            raise of_pydantic(error, code=Code.INVALID_PARAMETER) from error
        if isinstance(planned, Refusal):
            raise InvalidRequest(
                planned.text,
                code=_CODES.get(planned.reason, Code.INVALID_REQUEST),
                field=planned.field,
                remedy=planned.remedy or None,
            )

    async def admit(self, wanted: Sequence[tuple[ObjectMeta, GenerationJobSpec]], *, key: Key | None = None) -> Created:
        """All of them or none. A key that was answered before is answered so again."""
        now = self._now()
        jobs = [
            GenerationJob(metadata=one.model_copy(update={"creation_timestamp": now}), spec=spec)
            for one, spec in wanted
        ]
        self.check(jobs[0])
        rows = tuple(row_of(job, self._commands.ids.next(), now) for job in jobs)
        commands = tuple(self._commands.submit(row) for row in rows)
        check_size(commands[0])
        reply = created_reply(rows)
        answered = replace(key, reply=reply.model_dump_json()) if key else None
        admitted = await self._database.admit(
            Admission(rows, commands, answered),
            then=lambda admitted: self._projection.track(rows, reused=admitted.reused),
        )
        if admitted.reply is not None:
            return Created(CreatedGeneration.model_validate_json(admitted.reply), replayed=True)
        return Created(reply, replayed=False)

    # ── looking ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def row(self, name: str) -> JobRow | None:
        return await self._database.jobs.find(name) if names_a_job(name) else None

    async def find(self, name: str) -> Found:
        row = await self.row(name)
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
        rows = await self._database.jobs.page(wanted, limit + 1)
        more = rows[limit - 1].id if len(rows) > limit else None
        return [self._found(row) for row in rows[:limit]], more

    async def snapshot(self, project: str) -> tuple[SnapshotTask, ...]:
        rows = await self._database.jobs.page(Filter(project=project), _SNAPSHOT_TASKS)
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
        await self.configure(row, {Verb.CANCEL: Cancel(by=by, request_id=row.request_id)})
        return self._found(row)

    async def configure(self, row: JobRow, orders: Mapping[Verb, BaseModel]) -> None:
        """A job of which a changeable field was changed, and what the control plane is told of it."""
        commands = [self._commands.make(row.name, verb, payload) for verb, payload in orders.items()]
        await self._database.change(repository.replace_job(row), commands)

    async def retry(self, name: str) -> Created:
        """A new job with the plan of the old one: the same runner, parameters and seed make the same bytes."""
        found = await self.find(name)
        plan = found.seen.status.plan
        if not found.seen.status.finished:
            raise Conflict(
                f"{name} has not finished; cancel it first, or wait", code=Code.NOT_FINISHED, status=found.seen.view.api
            )
        again = await self.settled(pinned(found.row.job.spec, plan), ())
        node_id = found.row.job.metadata.annotations.get(names.ANNOTATION_NODE_ID)
        for _ in range(_NAME_TRIES):
            metadata = metadata_of(
                _new_name(again), again.project, self.rules.namespace, node_id=node_id, retry_of=name
            )
            try:
                return await self.admit([(metadata, again)])
            except Conflict as error:
                if error.code is not Code.NAME_TAKEN:
                    raise
            except InvalidRequest as error:
                raise _cannot_be_repeated(name, plan, error) from error
        raise Conflict("no free name was found; try again")

    async def delete(self, name: str, *, by: str) -> None:
        """Forgets the job and its files, here and there; one that is not finished is cancelled first."""
        found = await self.find(name)
        row = found.row
        order = Delete(uid=row.uid, request_id=row.request_id, project=row.job.spec.project, by=by)
        commands = [self._commands.make(name, Verb.DELETE, order)]
        if not found.seen.status.finished:
            commands.insert(0, self._commands.make(name, Verb.CANCEL, Cancel(by=by, request_id=row.request_id)))
        await self._database.change(repository.mark_deleted(row), commands, then=lambda: self._projection.forget(row))


def _new_name(spec: GenerationJobSpec) -> str:
    prompt = spec.params.get("prompt")
    return job_name(prompt if isinstance(prompt, str) else "", spec.function, secrets.token_bytes(5))


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
