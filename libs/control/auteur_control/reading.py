"""Stored resources → models. One that our models cannot read becomes a `Malformed`; it never ends the
reader.
"""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from auteur_contracts.model import STORED
from auteur_contracts.resources import (
    Condition,
    GenerationJob,
    GenerationJobSpec,
    GenerationJobStatus,
    ObjectMeta,
)
from auteur_contracts.vocabulary import Reason
from auteur_control.resources import JobResources, Malformed
from auteur_lifecycle.gate import Lookup
from auteur_lifecycle.refusal import Refusal

Read = GenerationJob | Malformed[GenerationJob]
M = TypeVar("M", bound=BaseModel)
_REMEDY = "Upgrade the operator if a newer one made it; else delete it, and create it put right."


def read_job(raw: Mapping[str, Any]) -> Read:
    """From JSON as the API server and our own table have it."""
    try:
        return GenerationJob.model_validate(raw, context=STORED)
    except ValidationError as error:
        return _malformed(raw, error)


def _malformed(raw: Mapping[str, Any], error: ValidationError) -> Malformed[GenerationJob]:
    where, said = first_finding(error)
    spec, lost = _readable(GenerationJobSpec, raw.get("spec", {}), "spec")
    status, unread = _readable(GenerationJobStatus, raw.get("status", {}), "status")
    if "status.conditions" in unread:  # that it is finished is seen beside a condition that cannot be read
        status = status.model_copy(update={"conditions": _conditions(raw["status"]["conditions"])})
    job = GenerationJob.model_construct(metadata=_metadata(raw["metadata"]), spec=spec, status=status)
    refusal = Refusal(Reason.INVALID_REQUEST, f"{said[:1000]}.", where, _REMEDY)
    return Malformed(job, refusal, frozenset(lost | unread), raw)


def _metadata(meta: Mapping[str, Any]) -> ObjectMeta:
    try:
        return ObjectMeta.model_validate(meta)
    except ValidationError:
        return ObjectMeta.model_construct(  # whoever stores it made sure of these
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            generation=meta.get("generation", 1),
            resource_version=meta["resourceVersion"],
            labels={},
            annotations={},
            creation_timestamp=moment(meta.get("creationTimestamp")),
            deletion_timestamp=moment(meta.get("deletionTimestamp")),
        )


def _readable(model: type[M], raw: Any, where: str) -> tuple[M, set[str]]:
    """Without the fields that cannot be read, and which these are."""
    kept, lost = (dict(raw), set[str]()) if isinstance(raw, Mapping) else ({}, {where})
    while True:
        try:
            return model.model_validate(kept, context=STORED), lost
        except ValidationError as error:
            wrong = {str(found["loc"][0]) for found in error.errors() if found["loc"]} & kept.keys()
            if not wrong:
                return model(), lost | {where}
            lost |= {f"{where}.{name}" for name in wrong}
            kept = {name: value for name, value in kept.items() if name not in wrong}


def _conditions(raw: Any) -> tuple[Condition, ...]:
    found = []
    for each in raw if isinstance(raw, list) else ():
        with contextlib.suppress(ValidationError):
            found.append(Condition.model_validate(each))
    return tuple(found)


def looked_up(jobs: JobResources, namespace: str) -> Lookup:
    """For jobs that wait for others: one that cannot be read is there, and has not ended."""

    def look(name: str) -> GenerationJob | None:
        found = jobs.read((namespace, name))
        if isinstance(found, Malformed):
            return found.resource.model_copy(update={"status": GenerationJobStatus()})
        return found

    return look


def first_finding(error: ValidationError) -> tuple[str, str]:
    """The field, and what is wrong with it as a sentence. Without what was sent: it may be a secret, or long."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return where, f"{where}: {first['msg'].removeprefix('Value error, ')}"


def moment(text: str | None) -> datetime | None:
    """RFC 3339, as in every time of an object."""
    return datetime.fromisoformat(text) if text else None
