"""The projection as the rest of the gateway uses it."""

import time
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from auteur_contracts.errors import AuteurError
from auteur_contracts.events import Envelope
from auteur_contracts.vocabulary import Reason
from auteur_gateway.database.database import Database
from auteur_gateway.database.tables import JobRow
from auteur_gateway.overlay import Seen
from auteur_gateway.projection.anti_entropy import AntiEntropy
from auteur_gateway.projection.archive import Archive
from auteur_gateway.projection.state import PAGE, State
from auteur_kit.clock import Clock
from auteur_lifecycle.refusal import Refusal
from auteur_sql.outbox import Message


@dataclass(frozen=True)
class Projection:
    state: State
    archive: Archive
    anti_entropy: AntiEntropy
    now: Clock

    async def load(self, database: Database) -> None:
        """At start: every job that has not finished."""
        rows = await database.jobs.unfinished()
        unbound = [row.name for row in rows if not row.uid]
        reused: set[str] = set()
        for start in range(0, len(unbound), PAGE):
            reused |= await database.jobs.reused(unbound[start : start + PAGE])
        self.track(rows, reused=reused)

    def background(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "flush": self.archive.flush_forever(),
            "resync": self.anti_entropy.ask_forever(),
            "queue-places": self.anti_entropy.ask_for_places_forever(),
            "unknown-jobs": self.anti_entropy.ask_for_unknown_forever(),
        }

    def seen(self, row: JobRow) -> Seen:
        return self.state.seen(row, time.monotonic())

    def current(self, row: JobRow) -> JobRow:
        return self.state.current(row)

    def track(self, rows: Iterable[JobRow], *, reused: Collection[str] = ()) -> None:
        self.state.track(rows, time.monotonic(), reused=reused)

    def forget(self, row: JobRow) -> None:
        self.state.forget(row)

    def note(self, fact: Envelope) -> None:
        self.state.hear(fact, time.monotonic())
        self.archive.wake()
        self.anti_entropy.wake()

    def refuse(self, command: Message, error: AuteurError) -> None:
        refusal = Refusal(Reason.INVALID_REQUEST, f"The job is too large to be handed on: {error.message}.")
        self.state.refuse(command.lane, command.msg_id, refusal, self.now())
        self.archive.wake()
