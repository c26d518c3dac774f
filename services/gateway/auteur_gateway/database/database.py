"""The gateway's database: what is read, what is written, and the commands that go with what is written."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from auteur_gateway.database.admission import Admission, Admissions, Admitted
from auteur_gateway.database.repository import Change, Repository
from auteur_gateway.database.tables import outbox
from auteur_gateway.settings import GatewaySettings
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_sql.engines import Engines, open_engines, parse_url
from auteur_sql.migrations import migrate
from auteur_sql.outbox import Message
from auteur_sql.reader import Reader
from auteur_sql.relay import Relay
from auteur_sql.writer import Writer

URL_SETTING = "AUTEUR_GATEWAY__DATABASE_URL"
_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Database:
    engines: Engines
    reader: Reader
    jobs: Repository
    relay: Relay
    _writer: Writer
    _admissions: Admissions

    async def admit(self, admission: Admission, then: Callable[[Admitted], None]) -> Admitted:
        """Returns after the commit. Raises Busy, Conflict (name or key taken), Unavailable. `then` is called for what
        was admitted, before its commands are on their way.
        """

        def committed(admitted: Admitted) -> None:
            if admitted.reply is None:
                then(admitted)
                self.relay.send(admission.commands)

        return await self._writer.add(self._admissions, admission, committed)

    async def change(
        self, change: Change | None, commands: Sequence[Message] = (), then: Callable[[], None] = lambda: None
    ) -> None:
        """Both or neither; returns after the commit, with the commands on their way. `then` is called before."""

        async def both(connection: AsyncConnection) -> None:
            if change is not None:
                await change(connection)
            await outbox.add(connection, commands)

        def committed(_: None) -> None:
            then()
            self.relay.send(commands)

        await self._writer.change(both, committed)

    async def write_nothing(self) -> None:
        """Raises Unavailable where the database does not take writes. A row is written as it was: a transaction that
        changes nothing would not meet a full disk.
        """
        await self._writer.change(_rewrite_version)


async def _rewrite_version(connection: AsyncConnection) -> None:
    await connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


@contextlib.asynccontextmanager
async def open_database(settings: GatewaySettings, bus: Bus, now: Clock) -> AsyncIterator[Database]:
    """Migrated, and writing while the context is open. The relay runs by a context of its own, once it is known who
    hears of refused commands.
    """
    engines = open_engines(parse_url(settings.database_url, URL_SETTING))
    try:
        await migrate(engines, _MIGRATIONS, lock="auteur-gateway")
        reader, writer = Reader(engines.reader), Writer(engines.writer)
        async with writer.running():
            yield Database(
                engines=engines,
                reader=reader,
                jobs=Repository(reader, settings.namespace),
                relay=Relay(bus, outbox, reader, writer, now),
                _writer=writer,
                _admissions=Admissions(settings.namespace, settings.queue_limit),
            )
    finally:
        await engines.dispose()
