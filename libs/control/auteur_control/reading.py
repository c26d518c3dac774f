"""Stored resources → models. One that our models cannot read becomes a `Malformed`; it never ends the
reader.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from auteur_contracts.resources import GenerationJob, GenerationJobSpec, GenerationJobStatus, ObjectMeta
from auteur_contracts.vocabulary import Reason
from auteur_control.resources import Malformed
from auteur_lifecycle.refusal import Refusal

Read = GenerationJob | Malformed[GenerationJob]


def read_job(raw: Mapping[str, Any]) -> Read:
    """From JSON as the API server and our own table have it."""
    try:
        return GenerationJob.model_validate(raw)
    except ValidationError as error:
        return _malformed(raw, error)


def _malformed(raw: Mapping[str, Any], error: ValidationError) -> Malformed[GenerationJob]:
    where, said = first_finding(error)
    meta = raw["metadata"]
    kept = ObjectMeta.model_construct(  # whoever stores it made sure of these
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
    try:
        status = GenerationJobStatus.model_validate(raw.get("status", {}))
    except ValidationError:  # whoever wrote it, it is put right
        status = GenerationJobStatus()
    job = GenerationJob.model_construct(metadata=kept, spec=GenerationJobSpec(), status=status)
    return Malformed(job, Refusal(Reason.INVALID_REQUEST, said[:1000], where, "Delete it, and create it put right."))


def first_finding(error: ValidationError) -> tuple[str, str]:
    """The field, and what is wrong with it as a sentence. Without what was sent: it may be a secret, or long."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return where, f"{where}: {first['msg'].removeprefix('Value error, ')}"


def moment(text: str | None) -> datetime | None:
    """RFC 3339, as in every time of an object."""
    return datetime.fromisoformat(text) if text else None
