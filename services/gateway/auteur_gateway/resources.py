"""Resources as a person writes them: what `apply` does with one. Knows no HTTP."""

import contextlib
from dataclasses import replace

from pydantic import ValidationError

from auteur_contracts import names
from auteur_contracts.commands import Cancel
from auteur_contracts.errors import AuteurError, Code, Conflict, InvalidRequest, NotFound
from auteur_contracts.model import JsonObject
from auteur_contracts.resources import GenerationJob, GenerationJobSpec
from auteur_contracts.web.http import AppliedReply, ApplyOutcome
from auteur_gateway.changes import Configured, Immutable, compare
from auteur_gateway.database.tables import JobRow
from auteur_gateway.drafts import metadata_of
from auteur_gateway.generations import Generations
from auteur_gateway.sources import sources_of
from auteur_web.errors import of_pydantic


class Resources:
    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self.namespace = generations.rules.namespace

    async def apply(self, name: str, document: JsonObject, *, by: str) -> AppliedReply:
        wanted = self._parse(name, document)
        row = await self._generations.row(name)
        if row is None:
            return await self._create(wanted)
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
                changed = replace(row, job=row.job.model_copy(update={"spec": spec}))
                await self._generations.configure(
                    changed, {verb: Cancel(by=by, request_id=row.request_id) for verb in verbs}
                )
                return self._applied(ApplyOutcome.CONFIGURED, name)
            case _:
                return self._applied(ApplyOutcome.UNCHANGED, name)

    async def _create(self, wanted: GenerationJob) -> AppliedReply:
        said = wanted.metadata
        spec = await self._generations.settled(wanted.spec, (), unknown=True)
        made = metadata_of(
            said.name, spec.project, self.namespace, node_id=said.annotations.get(names.ANNOTATION_NODE_ID)
        )
        merged = {"labels": said.labels | made.labels, "annotations": said.annotations | made.annotations}
        await self._generations.admit([(made.model_copy(update=merged), spec)])
        return self._applied(ApplyOutcome.CREATED, said.name)

    async def _as_stored(self, row: JobRow, wanted: GenerationJobSpec) -> GenerationJobSpec:
        """The same document applied again is unchanged, though the job has its inputs by where they lie."""
        if not sources_of(wanted) or row.job.spec.inputs == wanted.inputs:
            return wanted
        with contextlib.suppress(InvalidRequest):  # then it differs, and that is what is said
            return await self._generations.settled(wanted, (), unknown=True)
        return wanted

    def _applied(self, outcome: ApplyOutcome, name: str) -> AppliedReply:
        return AppliedReply(outcome=outcome, kind="GenerationJob", name=name, namespace=self.namespace)

    def _parse(self, name: str, document: JsonObject) -> GenerationJob:
        try:
            job = GenerationJob.model_validate({key: value for key, value in document.items() if key != "status"})
        except ValidationError as error:
            raise of_pydantic(error) from error
        if too_much := job.metadata.excess():
            raise InvalidRequest(too_much, field=too_much.partition(":")[0])
        if job.metadata.name != name:
            raise InvalidRequest(
                f'metadata.name is "{job.metadata.name}" but the address says "{name[:100]}"', field="metadata.name"
            )
        if job.metadata.namespace != self.namespace:
            raise self.other_namespace(job.metadata.namespace)
        return job

    def other_namespace(self, namespace: str) -> AuteurError:
        return NotFound(
            f'this gateway serves the namespace "{self.namespace}", not "{namespace[:63]}"',
            kind="namespace",
            name=namespace[:63],
        )
