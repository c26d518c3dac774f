"""What a request asks for, as a job that nobody has admitted yet. Pure."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from auteur_contracts import names
from auteur_contracts.errors import AuteurError, Code, InvalidRequest
from auteur_contracts.resources import (
    GenerationJob,
    GenerationJobSpec,
    GenerationJobStatus,
    JobInput,
    ObjectMeta,
    OutputOf,
)
from auteur_contracts.vocabulary import ApiStatus, Quality
from auteur_contracts.web.http import CreatedGeneration, CreateGeneration, GenerationInput
from auteur_gateway.database.tables import JobRow, document
from auteur_sql.outbox import Message
from auteur_web.errors import of_pydantic

LARGEST_JOB = 384 * 1024
"""Bytes as a command, of the 1 MiB that a NATS message holds by default: answers have it with its plan."""


@dataclass(frozen=True)
class Rules:
    """Settings that decide what is created."""

    namespace: str
    bucket: str
    default_quality: Quality
    task_timeout: timedelta
    link_lifetime: timedelta
    upload_lifetime: timedelta


def with_prompt(request: CreateGeneration) -> CreateGeneration:
    if request.prompt is None:
        return request
    if request.params.get("prompt", request.prompt) != request.prompt:
        raise InvalidRequest("prompt and params.prompt differ; give one of them", field="prompt")
    return request.model_copy(update={"params": {**request.params, "prompt": request.prompt}, "prompt": None})


def spec_of(request: CreateGeneration, rules: Rules) -> GenerationJobSpec:
    fields: dict[str, Any] = {
        "function": request.function,
        "quality": request.quality or rules.default_quality,
        "runner": request.runner,
        "params": request.params,
        "inputs": tuple(_input(item) for item in request.inputs),
        "project": request.project,
        "priority": request.priority,
        "deadline": request.deadline or rules.task_timeout,
    }
    if request.retries is not None:
        fields["retries"] = request.retries
    try:
        return GenerationJobSpec.model_validate(fields)
    except ValidationError as error:
        raise of_pydantic(error) from error


def _input(item: GenerationInput) -> JobInput:
    if (item.uri is None) == (item.job is None):
        raise InvalidRequest(
            f'input "{item.name}" needs either "uri" or "job", not both', code=Code.INVALID_INPUT, field="inputs"
        )
    if item.uri is not None:
        return JobInput(name=item.name, uri=item.uri)
    return JobInput(name=item.name, from_=OutputOf(job=item.job or "", output=item.output))


def metadata_of(
    name: str, project: str, namespace: str, *, node_id: str | None = None, retry_of: str | None = None
) -> ObjectMeta:
    """With a request id of its own: it tells this job from another of its name."""
    labels = {names.LABEL_PROJECT: project}
    if retry_of:
        labels[names.LABEL_RETRY_OF] = retry_of
    annotations = {names.ANNOTATION_REQUEST_ID: uuid.uuid4().hex}
    if node_id:
        if not node_id.isprintable():
            raise InvalidRequest("node_id: has characters that cannot be shown", field="node_id")
        annotations[names.ANNOTATION_NODE_ID] = node_id
    return ObjectMeta(name=name, namespace=namespace, labels=labels, annotations=annotations)


def row_of(job: GenerationJob, row_id: int, now: datetime) -> JobRow:
    """Raises InvalidRequest where it could not be read again: copies of models are not validated."""
    try:
        GenerationJob.model_validate_json(document(job))
    except ValidationError as error:
        raise of_pydantic(error) from error
    return JobRow(
        id=row_id,
        deleted_id=0,
        uid="",
        request_id=job.metadata.annotations[names.ANNOTATION_REQUEST_ID],
        state=ApiStatus.QUEUED,
        version=0,
        job=job,
        status=GenerationJobStatus(),
        created_at=job.metadata.creation_timestamp or now,
    )


def check_size(submit: Message) -> None:
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


def fingerprint(request: BaseModel) -> str:
    """Tells one request from another under the same Idempotency-Key."""
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
