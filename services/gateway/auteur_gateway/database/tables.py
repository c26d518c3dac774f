"""The tables. Documents (job, status) are JSON text as the contracts write it; beside them is what we search by."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import BigInteger, Column, Index, RowMapping, String, Table, Text, UniqueConstraint

from auteur_contracts import names
from auteur_contracts.model import STORED
from auteur_contracts.resources import GenerationJob, GenerationJobSpec, GenerationJobStatus, ObjectMeta
from auteur_contracts.vocabulary import ApiStatus, Reason
from auteur_kit.logs import get_logger
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.status import refuse
from auteur_sql.outbox import Outbox
from auteur_sql.tables import Moment, new_metadata

log = get_logger()
metadata = new_metadata()

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("namespace", String(63), nullable=False),
    Column("name", String(50), nullable=False),
    Column("tomb", BigInteger, key="deleted_id", nullable=False),
    Column("uid", String(64), nullable=False),
    Column("request_id", String(128), nullable=False, unique=True),
    Column("project", String(63), nullable=False),
    Column("function", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("job", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment, nullable=True),
    UniqueConstraint("namespace", "name", "deleted_id", name="uq_jobs_namespace_name_tomb"),
    Index(None, "uid"),
    Index(None, "namespace", "state", "id"),
    Index(None, "project", "id"),
)
"""`deleted_id` is 0 for a job that is there and its id for a deleted one, so that a name can be used again. In the
database it has the name of the first revision: older replicas read it while a newer one is rolled out.
`version` is the resourceVersion of `status`: only a higher one replaces it."""

outbox = Outbox(metadata)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("reply", Text, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
)
"""Answers already given to an Idempotency-Key (hashed), kept for a day."""


@dataclass(frozen=True)
class JobRow:
    """One line of `jobs`, parsed."""

    id: int
    deleted_id: int
    uid: str
    request_id: str
    state: ApiStatus
    version: int
    job: GenerationJob
    status: GenerationJobStatus
    created_at: datetime

    @property
    def name(self) -> str:
        return self.job.metadata.name

    @property
    def finished(self) -> bool:
        return self.state.finished

    @classmethod
    def of(cls, row: RowMapping) -> "JobRow":
        """A row that cannot be read, by another version say, is shown as what can be read of it: the others are."""
        return cls(
            id=row["id"],
            deleted_id=row["deleted_id"],
            uid=row["uid"],
            request_id=row["request_id"],
            state=ApiStatus(row["state"]),
            version=row["version"],
            job=_job_in(row),
            status=_status_in(row),
            created_at=row["created_at"],
        )

    def columns(self) -> dict[str, Any]:
        """The inverse of `of`."""
        metadata_, spec = self.job.metadata, self.job.spec
        return {
            "id": self.id,
            "namespace": metadata_.namespace,
            "name": metadata_.name,
            "deleted_id": self.deleted_id,
            "uid": self.uid,
            "request_id": self.request_id,
            "project": spec.project,
            "function": spec.function,
            "state": self.state.value,
            "version": self.version,
            "job": document(self.job),
            "status": self.status.model_dump_json(exclude_none=True),
            "created_at": self.created_at,
            "finished_at": self.status.completion_time if self.finished else None,
        }


def _job_in(row: RowMapping) -> GenerationJob:
    try:
        return GenerationJob.model_validate_json(row["job"], context=STORED)
    except ValidationError as error:
        _tell_unreadable(row, "job", error)
        meta = ObjectMeta(
            name=row["name"],
            namespace=row["namespace"],
            uid=row["uid"],
            annotations={names.ANNOTATION_REQUEST_ID: row["request_id"]},
            creation_timestamp=row["created_at"],
        )
        return GenerationJob(metadata=meta, spec=GenerationJobSpec(function=row["function"], project=row["project"]))


def _status_in(row: RowMapping) -> GenerationJobStatus:
    """Of a job that is not finished the control plane is asked anew; of one that is nobody knows more."""
    try:
        return GenerationJobStatus.model_validate_json(row["status"])
    except ValidationError as error:
        _tell_unreadable(row, "status", error)
        if not ApiStatus(row["state"]).finished:
            return GenerationJobStatus()
        why = Refusal(Reason.INVALID_REQUEST, "What is stored of its end cannot be read by this version.", "", "")
        return refuse(
            GenerationJob(metadata=ObjectMeta(name=row["name"])), why, row["finished_at"] or row["created_at"]
        )


def _tell_unreadable(row: RowMapping, what: str, error: ValidationError) -> None:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    log.error("stored job cannot be read", job=row["name"], what=what, where=first["loc"], why=first["msg"])


def document(job: GenerationJob) -> str:
    """A job as stored: what was asked. Its status has a column of its own."""
    return job.model_dump_json(exclude={"status"}, exclude_none=True)


OPEN_STATES = tuple(state.value for state in ApiStatus if not state.finished)
