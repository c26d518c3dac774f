"""The tables. Documents (job, status) are JSON text as the contracts write it; beside them is what we search by."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ApiStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """UTC in and out; SQLite forgets time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("namespace", String(63), nullable=False),
    Column("name", String(50), nullable=False),
    Column("tomb", BigInteger, nullable=False),
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
    UniqueConstraint("namespace", "name", "tomb"),
    Index(None, "uid"),
    Index(None, "namespace", "state", "id"),
    Index(None, "project", "id"),
)
"""`tomb` is 0 for a job that is there and its id for a deleted one, so that a name can be used again.
`version` is the resourceVersion of `status`: only a higher one replaces it."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("lane", String(64), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("payload", Text, nullable=False),
    Column("msg_id", String(160), nullable=False),
    Column("created_at", Moment, nullable=False),
)
"""Commands that must reach the bus. A row goes when its message was stored; one lane is sent in order."""

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
    tomb: int
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
        return cls(
            id=row["id"],
            tomb=row["tomb"],
            uid=row["uid"],
            request_id=row["request_id"],
            state=ApiStatus(row["state"]),
            version=row["version"],
            job=GenerationJob.model_validate_json(row["job"]),
            status=GenerationJobStatus.model_validate_json(row["status"]),
            created_at=row["created_at"],
        )

    def columns(self) -> dict[str, Any]:
        """The inverse of `of`."""
        metadata_, spec = self.job.metadata, self.job.spec
        return {
            "id": self.id,
            "namespace": metadata_.namespace,
            "name": metadata_.name,
            "tomb": self.tomb,
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


def document(job: GenerationJob) -> str:
    """A job as stored: what was asked. Its status has a column of its own."""
    return job.model_dump_json(exclude={"status"}, exclude_none=True)


@dataclass(frozen=True)
class OutboxRow:
    id: int
    lane: str
    subject: str
    payload: str
    msg_id: str
    created_at: datetime

    @classmethod
    def of(cls, row: RowMapping) -> "OutboxRow":
        return cls(**row)

    def columns(self) -> dict[str, Any]:
        return dict(vars(self))
