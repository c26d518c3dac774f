"""Fixtures for every test: real servers, started once a session, and clean connections to them, one a test."""

import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog
from sqlalchemy.engine import make_url

from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from tests.support.servers import (
    ServerProcess,
    delete_streams,
    find_postgres,
    nats_server,
    postgres_server,
    store_server,
)


def pytest_configure() -> None:
    """A shell that starts us in the background has us ignore Ctrl-C; the programs under test must not inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Rich's tracebacks take seconds each, in which the control plane of a test would answer nobody.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])


@pytest.fixture(scope="session")
def nats_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsSettings]:
    """A NATS server that nobody kills. What is stored stays from test to test: see `fresh_nats` and `bus`."""
    process, settings = nats_server(tmp_path_factory.mktemp("nats"))
    process.start()
    yield settings
    process.stop()


@pytest.fixture
async def fresh_nats(nats_settings: NatsSettings) -> NatsSettings:
    """The NATS server of the session, emptied: no streams, no buckets."""
    async with Bus.connect(nats_settings, name="cleaner") as cleaner:
        await delete_streams(cleaner)
    return nats_settings


@pytest.fixture
async def bus(fresh_nats: NatsSettings) -> AsyncIterator[Bus]:
    """Connected, with our streams, empty."""
    async with Bus.connect(fresh_nats, name="test", owns_streams=True) as connected:
        await connected.ensure_streams()
        yield connected


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[tuple[ServerProcess, NatsSettings]]:
    """A NATS server of the test's own, to be killed."""
    process, settings = nats_server(tmp_path / "nats")
    process.start()
    yield process, settings
    process.stop()


@pytest.fixture(scope="session")
def store_server_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """An S3 server that nobody kills."""
    process, settings = store_server(tmp_path_factory.mktemp("store"))
    process.start()
    yield settings
    process.stop()


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[tuple[ServerProcess, StoreSettings]]:
    """An S3 server of the test's own, to be killed."""
    process, settings = store_server(tmp_path / "store")
    process.start()
    yield process, settings
    process.stop()


@pytest.fixture
def store_settings(store_server_settings: StoreSettings) -> StoreSettings:
    """The S3 server of the session, with a bucket name of the test's own. The bucket is not made yet."""
    return store_server_settings.model_copy(update={"bucket": f"test-{uuid.uuid4().hex[:12]}"})


@pytest.fixture
async def store(store_settings: StoreSettings) -> AsyncIterator[Store]:
    """A store with an empty bucket of its own."""
    opened = Store(store_settings)
    await opened.ensure_bucket()
    yield opened
    await opened._run(lambda: _remove_bucket(opened))
    opened.close()


def _remove_bucket(store: Store) -> None:
    """S3 refuses to remove one that holds something, though SeaweedFS does not mind."""
    for each in store._minio.list_objects(store.bucket, recursive=True):
        store._minio.remove_object(store.bucket, each.object_name)
    store._minio.remove_bucket(store.bucket)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: its URL for SQLAlchemy (asyncpg), with the database `postgres`. See `postgres_database`."""
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (initdb was not found): apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="auteur-postgres-"))  # pytest's own folders are closed to other users
    try:
        process, url = postgres_server(binaries, folder)
        process.start()
        yield f"{url}/postgres"
        process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def postgres_database(postgres_url: str) -> str:
    """The URL of an empty database of the test's own."""
    url = make_url(postgres_url)
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return url.set(database=name).render_as_string(hide_password=False)
