"""Writes what the state learned, in batches. Finished jobs are archived, and released in the same transaction."""

import asyncio

from auteur_contracts.commands import Release
from auteur_contracts.errors import AuteurError
from auteur_contracts.subjects import Verb
from auteur_gateway.commands import Commands
from auteur_gateway.database import repository
from auteur_gateway.database.database import Database
from auteur_gateway.database.tables import JobRow
from auteur_gateway.projection.state import State
from auteur_kit.logs import get_logger
from auteur_sql.outbox import Message

log = get_logger()
_FLUSH_SECONDS = 0.03


class Archive:
    def __init__(self, state: State, database: Database, commands: Commands) -> None:
        self._state = state
        self._database = database
        self._commands = commands
        self._releases: list[Message] = []
        self._work = asyncio.Event()

    def wake(self) -> None:
        """The state may have changed."""
        if self._releases or self._state.has_changes:
            self._work.set()

    def release(self, row: JobRow) -> None:
        """The archive has this job already, and the control plane holds it still."""
        self._releases.append(self._release(row))
        self._work.set()

    def _release(self, row: JobRow) -> Message:
        payload = Release(uid=row.uid, version=row.version)
        return self._commands.make(row.name, Verb.RELEASE, payload, f"release-{row.uid}-{row.version}")

    async def flush_forever(self) -> None:
        while True:
            await self._work.wait()
            try:
                await self.flush()
            except AuteurError as error:
                log.warning("statuses not written", error=str(error))
            await asyncio.sleep(_FLUSH_SECONDS)

    async def flush(self) -> None:
        self._work.clear()
        changes = self._state.take_changes()
        releases, self._releases = self._releases, []
        if not (changes or releases):
            return
        rows = changes.rows
        commands = [*releases, *(self._release(row) for row in rows if row.finished and row.uid)]
        try:
            await self._database.change(repository.save_statuses(rows, sorted(changes.started)), commands)
        except AuteurError:
            self._state.put_back(changes)
            self._releases = [*releases, *self._releases]
            self._work.set()
            raise
        for row in rows:
            if row.finished:
                self._state.archived(row)
