"""New jobs: what is already known under a key, what the queue holds and which names are taken is asked once for all
submits that share a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auteur_contracts.errors import AuteurError, Busy, Code, Conflict
from auteur_gateway.database.tables import OPEN_STATES, JobRow, idempotency, jobs, outbox
from auteur_sql.outbox import Message


@dataclass(frozen=True)
class Key:
    """An Idempotency-Key and what was asked and answered under it."""

    digest: str
    fingerprint: str
    reply: str
    created_at: datetime


@dataclass(frozen=True)
class Admission:
    """New jobs of one request, their commands, and the key they came under: all or nothing."""

    rows: tuple[JobRow, ...]
    commands: tuple[Message, ...]
    key: Key | None = None


@dataclass(frozen=True)
class Admitted:
    reply: str | None = None
    """The answer given before under the same key; None for a new admission."""
    reused: frozenset[str] = frozenset()
    """Names that a deleted job had before: facts that carry one may be of either."""


@dataclass(frozen=True)
class Admissions:
    """A batch of the writer."""

    namespace: str
    queue_limit: int

    async def __call__(
        self, connection: AsyncConnection, admissions: Sequence[Admission]
    ) -> list[Admitted | AuteurError]:
        known = await _known_keys(connection, [one.key.digest for one in admissions if one.key])
        taken, deleted = await _namesakes(
            connection, self.namespace, [row.name for one in admissions for row in one.rows]
        )
        unfinished = await _unfinished(connection, self.namespace)
        results: list[Admitted | AuteurError] = []
        accepted: list[Admission] = []
        for one in admissions:
            if one.key and one.key.digest in known:
                results.append(_replay(one.key, known[one.key.digest]))
            elif unfinished + len(one.rows) > self.queue_limit:
                results.append(
                    Busy(f"{unfinished} jobs wait or run and the queue holds {self.queue_limit}; try again later")
                )
            elif clash := next((row.name for row in one.rows if row.name in taken), None):
                results.append(Conflict(f'there is a job named "{clash}" already; choose another name', name=clash))
            else:
                names = {row.name for row in one.rows}
                accepted.append(one)
                results.append(Admitted(reused=frozenset(names & deleted)))
                unfinished += len(one.rows)
                taken |= names
                if one.key:
                    known[one.key.digest] = one.key
        await _insert(connection, accepted)
        return results


async def _namesakes(connection: AsyncConnection, namespace: str, names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Which of these names a job has, and which a deleted one had."""
    deleted = jobs.c.deleted_id != 0
    query = select(jobs.c.name, deleted).where(jobs.c.namespace == namespace, jobs.c.name.in_(names)).distinct()
    found = (await connection.execute(query)).all()
    return {name for name, gone in found if not gone}, {name for name, gone in found if gone}


async def _unfinished(connection: AsyncConnection, namespace: str) -> int:
    of_namespace = jobs.c.namespace == namespace, jobs.c.state.in_(OPEN_STATES)
    count = select(func.count()).select_from(jobs).where(*of_namespace)  # by the index alone
    return (await connection.execute(count)).scalar_one()


async def _insert(connection: AsyncConnection, accepted: Sequence[Admission]) -> None:
    if not accepted:
        return
    await connection.execute(insert(jobs), [row.columns() for one in accepted for row in one.rows])
    await outbox.add(connection, [command for one in accepted for command in one.commands])
    keys = [
        {
            "key": one.key.digest,
            "fingerprint": one.key.fingerprint,
            "reply": one.key.reply,
            "created_at": one.key.created_at,
        }
        for one in accepted
        if one.key
    ]
    if keys:
        await connection.execute(insert(idempotency), keys)


async def _known_keys(connection: AsyncConnection, digests: Sequence[str]) -> dict[str, Key]:
    if not digests:
        return {}
    found = await connection.execute(select(idempotency).where(idempotency.c.key.in_(digests)))
    return {
        row["key"]: Key(row["key"], row["fingerprint"], row["reply"], row["created_at"]) for row in found.mappings()
    }


def _replay(asked: Key, known: Key) -> Admitted | AuteurError:
    if asked.fingerprint != known.fingerprint:
        return Conflict(
            "this Idempotency-Key was used for another request; use a new key", code=Code.IDEMPOTENCY_MISMATCH
        )
    return Admitted(known.reply)
