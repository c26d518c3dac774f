"""Commands to operator or engine, as messages of the outbox."""

from pydantic import BaseModel

from auteur_contracts.commands import Submit
from auteur_contracts.subjects import JobCommand, Verb
from auteur_gateway.database.tables import JobRow
from auteur_kit import telemetry
from auteur_kit.clock import Clock
from auteur_sql.ids import Ids
from auteur_sql.outbox import Message


class Commands:
    def __init__(self, namespace: str, ids: Ids, now: Clock) -> None:
        self._namespace = namespace
        self.ids = ids
        self._now = now

    def make(self, name: str, verb: Verb, payload: BaseModel, msg_id: str = "") -> Message:
        """Without a `msg_id` the command counts each time it is given."""
        row_id = self.ids.next()
        return Message(
            id=row_id,
            lane=name,
            subject=str(JobCommand(self._namespace, name, verb)),
            payload=payload.model_dump_json(exclude_none=True),
            msg_id=msg_id or f"{verb.value}-{row_id}",
            created_at=self._now(),
            traceparent=telemetry.traceparent(),
        )

    def submit(self, row: JobRow, *, again: int = 0) -> Message:
        """Its message id is the request id: sent twice it is one message. `again` counts the times it was lost with its
        stream or consumer; the receiver knows a job by its request id, so that too makes no second job.
        """
        suffix = f"-again-{again}" if again else ""
        return self.make(row.name, Verb.SUBMIT, Submit(job=row.job), f"{row.request_id}{suffix}")
