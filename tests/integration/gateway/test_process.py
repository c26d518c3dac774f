"""`python -m auteur_gateway` as a process: it starts, refuses what is unsafe, and ends when it is told to."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from auteur_kit.settings import NatsSettings, StoreSettings
from tests.support.memory_control import MemoryControl
from tests.support.ports import free_ports
from tests.support.servers import variables_of
from tests.support.waiting import eventually


def environment(nats: NatsSettings, store: StoreSettings, database: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        **variables_of(nats, store),
        "AUTEUR_GATEWAY__DATABASE_URL": f"sqlite+aiosqlite:///{database}",
        **more,
    }


@contextlib.asynccontextmanager
async def started(env: dict[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, with its stderr in `log`; killed at the end if it still runs."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "auteur_gateway", env=env, stderr=file)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_sigterm_closes_sockets_with_1012_and_ends(
    control: MemoryControl, nats_settings: NatsSettings, store_settings: StoreSettings, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    env = environment(nats_settings, store_settings, tmp_path / "g.db", AUTEUR_GATEWAY__PORT=str(port))
    log = tmp_path / "log"
    http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20)
    async with http, started(env, log) as process:
        await eventually(lambda: answers(http, "GET", "/readyz"), "the gateway to be ready")
        star = {"prompt": "a star", "name": "star"}
        await eventually(lambda: answers(http, "POST", "/v1/generations", json=star), "a job to be taken")

        async def stream() -> None:
            async with http.stream("GET", "/v1/events") as answer:
                async for _ in answer.aiter_raw():
                    pass

        streaming = asyncio.create_task(stream())
        sockets = [await connect(f"ws://127.0.0.1:{port}/ws/demo") for _ in range(20)]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0, log.read_text()
        for socket in sockets:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 60)
            assert socket.close_code == 1012
        await asyncio.wait_for(streaming, 60)
    for line in log.read_text().splitlines():
        assert json.loads(line)["level"] in ("info", "warning"), line


async def test_what_was_committed_survives_kill_9(
    control: MemoryControl, nats_settings: NatsSettings, store_settings: StoreSettings, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    env = environment(nats_settings, store_settings, tmp_path / "g.db", AUTEUR_GATEWAY__PORT=str(port))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        async with started(env, tmp_path / "log") as process:
            await eventually(lambda: answers(http, "GET", "/readyz"), "the gateway to be ready")
            star = {"prompt": "a star", "name": "star"}
            await eventually(lambda: answers(http, "POST", "/v1/generations", json=star), "a job to be taken")
            process.kill()
        await control.has("star")
        await control.succeed("star")  # nobody listens
        async with started(env, tmp_path / "log-2"):

            async def done() -> bool:
                found = await answers(http, "GET", "/v1/generations/star")
                return found is not None and found.json()["status"] == "done"

            await eventually(done, "the job to be known as done")


async def answers(http: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response | None:
    """The answer, if it is a success."""
    try:
        answer = await http.request(method, path, **more)
    except httpx.TransportError:
        return None
    return answer if answer.is_success else None


async def test_an_open_network_needs_tokens(
    nats_settings: NatsSettings, store_settings: StoreSettings, tmp_path: Path
) -> None:
    env = environment(nats_settings, store_settings, tmp_path / "g.db", AUTEUR_GATEWAY__HOST="0.0.0.0")  # noqa: S104
    async with started(env, tmp_path / "log") as process:
        assert await asyncio.wait_for(process.wait(), 60) == 2
    assert "AUTEUR_GATEWAY__TOKENS" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"AUTEUR_GATEWAY__PORT": "abc"}, "error: AUTEUR_GATEWAY__PORT should be a valid integer"),
        (
            {"AUTEUR_GATEWAY__HEARTBEAT": "soon"},
            'error: AUTEUR_GATEWAY__HEARTBEAT write a duration like "90s"',
        ),
        ({"AUTEUR_GATEWAY": "{"}, 'error: the settings cannot be read: error parsing value for field "gateway"'),
        ({"AUTEUR_GATEWAY__DATABASE_URL": "mysql://x"}, "error: AUTEUR_GATEWAY__DATABASE_URL: mysql is not supported"),
    ],
)
async def test_a_wrong_setting_is_named_in_one_sentence(tmp_path: Path, setting: dict[str, str], says: str) -> None:
    env = {**os.environ, "AUTEUR_STORE__SECRET_KEY": "x", **setting}
    async with started(env, tmp_path / "log") as process:
        assert await asyncio.wait_for(process.wait(), 60) == 2
    said = (tmp_path / "log").read_text()
    assert said.startswith(says)
    assert said.count("\n") == 1


async def test_a_database_that_is_away_is_told_without_a_traceback(
    nats_settings: NatsSettings, store_settings: StoreSettings, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    env = environment(
        nats_settings,
        store_settings,
        tmp_path / "g.db",
        AUTEUR_GATEWAY__DATABASE_URL=f"postgresql://u:secret@127.0.0.1:{port}/x",
    )
    async with started(env, tmp_path / "log") as process:
        assert await asyncio.wait_for(process.wait(), 60) != 0
    said = (tmp_path / "log").read_text()
    assert "the database cannot be opened" in said
    assert "Traceback" not in said
    assert "secret" not in said
