"""`python -m auteur_runner agent`: the command line of an agent, and how it starts and stops."""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from auteur_contracts import names
from auteur_contracts.errors import InvalidRequest, Unavailable
from auteur_contracts.resources import Tier
from auteur_kit import logs
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger
from auteur_kit.settings import read_settings
from auteur_runner.agent.agent import Agent
from auteur_runner.agent.settings import AgentSettings, Identity

log = get_logger()
_CONNECT_TRY = timedelta(seconds=3)


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        settings = read_settings(AgentSettings)
    except InvalidRequest as error:
        parser.error(error.message)
    scratch = arguments.scratch or Path(tempfile.mkdtemp(prefix="auteur-agent-"))
    identity = Identity(
        runner=arguments.runner,
        pool=arguments.pool or names.pool(arguments.runner),
        target=arguments.target,
        python=arguments.python,
        directory=arguments.directory,
        scratch=scratch.resolve(),
        worker=f"{arguments.runner}-{names.short_id(os.urandom(5))}",
    )
    logs.configure(settings.log, service=f"agent {identity.worker}")
    tier = Tier.model_validate_json(arguments.tier) if arguments.tier else None
    _clear(identity.scratch)
    try:
        return asyncio.run(_serve(identity, settings, tier))
    finally:
        shutil.rmtree(identity.scratch, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m auteur_runner agent", description="Serve a pool's orders.")
    parser.add_argument("--runner", required=True, help="the runner's name, as it describes itself")
    parser.add_argument("--pool", help="whose orders to take (default: the runner's own)")
    parser.add_argument("--target", required=True, help="module:Class, module:runner, file.py or an installed name")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the runner's environment")
    parser.add_argument("--directory", type=Path, help="where a target that is not installed lies")
    parser.add_argument("--scratch", type=Path, help="a folder of this agent's own for attempts; emptied at start")
    parser.add_argument("--tier", default="", help="the tier to make ready first, as JSON (default: standard)")
    return parser


async def _serve(identity: Identity, settings: AgentSettings, tier: Tier | None) -> int:
    """NATS may not be there yet: short tries, so that SIGTERM is heard between them."""
    nats = settings.nats.model_copy(update={"connect_timeout": _CONNECT_TRY})
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    while not stopping.is_set():
        try:
            async with Bus.connect(nats, name=identity.worker) as bus:
                await _run(Agent(identity, settings.agent, bus, tier), stopping)
        except Unavailable as error:
            log.warning("waiting for NATS", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stopping.wait()
        else:
            return 0
    return 0


async def _run(agent: Agent, stopping: asyncio.Event) -> None:
    async def leave_when_told() -> None:
        await stopping.wait()
        agent.leave()

    waiting = asyncio.create_task(leave_when_told())
    try:
        await agent.run()
    finally:
        waiting.cancel()


def _clear(scratch: Path) -> None:
    """What an agent that was killed here left behind."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
