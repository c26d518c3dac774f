"""A worker with a real child process that serves the echo function."""

import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from auteur_contracts.resources import Tier
from auteur_contracts.vocabulary import Quality
from auteur_runner import protocol
from auteur_runner.process import Launch
from auteur_runner.worker import Worker

ROOT = Path(__file__).parents[3]
ECHO = Launch(sys.executable, "tests.support.echo:Echo", ROOT)
TIER = Tier(quality=Quality.STANDARD, pipeline="echo")

OrderOf = Callable[..., protocol.Run]


@pytest.fixture
def lines() -> list[protocol.Log]:
    """What the child printed and logged."""
    return []


@pytest.fixture
async def worker(lines: list[protocol.Log]) -> AsyncIterator[Worker]:
    worker = Worker(ECHO, lines.append)
    yield worker
    await worker.close()


@pytest.fixture
def order(tmp_path: Path) -> OrderOf:
    """`order(text="hi", steps=3)`: an order of its own uid and folder."""

    def make(function: str = "echo", inputs: dict[str, str] | None = None, **params: object) -> protocol.Run:
        uid = uuid.uuid4().hex
        folder = tmp_path / uid
        folder.mkdir()
        return protocol.Run(
            function=function,
            params=params,
            inputs=inputs or {},
            seed=7,
            tier=TIER,
            folder=str(folder),
            uid=uid,
            attempt=1,
        )

    return make
