"""The fixtures themselves: each server answers, and comes back with its data after kill -9."""

import asyncpg
from sqlalchemy.engine import make_url

from auteur_kit.bus import Bus
from auteur_kit.store import Store


async def test_every_server_answers(bus: Bus, store: Store, postgres_database: str) -> None:
    assert bus.connected
    await store.check()
    url = make_url(postgres_database).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
