"""What takes longest comes first: a pool's worker loads its model before there is a NATS to tell of it."""

import os
import sys
from pathlib import Path

from auteur_contracts import subjects
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_kit.bus import Bus
from tests.integration.runner.conftest import ROOT
from tests.support.servers import ServerProcess, nats_server
from tests.support.waiting import eventually, wait_for

_TARGET = """
from tests.support.echo import Echo


class Slow(Echo):
    name = "slow"

    def setup(self, ctx):
        open("loaded", "a").write("once ")
"""


async def test_a_worker_has_loaded_when_nats_comes_and_does_not_load_again(tmp_path: Path) -> None:
    nats, settings = nats_server(tmp_path / "nats")
    (tmp_path / "slow.py").write_text(_TARGET)
    environment = {
        "AUTEUR_NATS__URL": settings.url,
        "AUTEUR_NATS__USER": settings.user,
        "AUTEUR_NATS__PASSWORD": settings.password.get_secret_value(),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path))),
    }
    argv = (sys.executable, "-m", "auteur_runner", "agent", "--runner", "slow", "--target", "slow:Slow")
    loaded = tmp_path / "loaded"
    agent = ServerProcess(
        "agent", (*argv, "--directory", str(tmp_path)), tmp_path / "agent.log", loaded.exists, environment
    )
    agent.start()  # which waits until the model is loaded
    try:
        wait_for(lambda: "NATS unreachable" in agent.log.read_text(), "the agent to miss NATS")
        nats.start()
        beats: list[Heartbeat] = []

        async def hear(_subject: str, data: bytes) -> None:
            beats.append(Heartbeat.model_validate_json(data))

        async with Bus.connect(settings, name="test") as bus:
            await bus.listen(subjects.HEARTBEATS, hear)
            await eventually(lambda: any(beat.state is WorkerState.READY for beat in beats), "the worker to be ready")
        assert loaded.read_text() == "once "
    finally:
        agent.stop()
        nats.stop()
