"""The engine in the test's own process, on the test's servers."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from auteur_control.control_plane import Outside
from auteur_engine.engine import run_engine
from auteur_engine.settings import EngineSettings
from auteur_engine.table import Table
from auteur_kit.bus import Bus
from auteur_kit.clock import utc_now
from auteur_kit.store import Store
from tests.support.background import running


@contextlib.asynccontextmanager
async def running_engine(bus: Bus, store: Store, settings: EngineSettings) -> AsyncIterator[None]:
    """Hears and answers inside the block; leaving it ends the engine without goodbye."""
    table = Table.open(settings.database, on_fault=lambda error: pytest.fail(repr(error)))
    with contextlib.closing(table):
        async with running(lambda ready: run_engine(Outside(bus, store, utc_now), table, settings, ready=ready)):
            yield
