"""`python -m auteur_runner agent`: its options, and how it starts and stops."""

import argparse
import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from auteur_contracts import names
from auteur_contracts.errors import InvalidRequest, Unavailable
from auteur_contracts.orders import Order, TerminationMessage
from auteur_contracts.resources import Tier
from auteur_kit import logs, telemetry
from auteur_kit.logs import get_logger
from auteur_kit.settings import read_settings
from auteur_runner.agent import termination
from auteur_runner.agent.init import fork_behind_init
from auteur_runner.agent.pod import Pod
from auteur_runner.agent.settings import AgentOptions, AgentSettings, Identity
from auteur_runner.agent.setup import Setup

if TYPE_CHECKING:
    from auteur_kit.bus import Bus
    from auteur_runner.agent.agent import Agent

log = get_logger()
_CONNECT_TIMEOUT = timedelta(seconds=3)
_KUBELET_TERMINATION_LOG = Path("/dev/termination-log")
"""What a kubelet mounts into every container."""
_PR_SET_DUMPABLE = 4


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        settings = read_settings(AgentSettings)
        options = _merge_options(settings.agent, arguments)
    except InvalidRequest as error:
        parser.error(error.message)
    if options.runner == "" or options.target == "":
        parser.error("name whom to serve: --runner and --target, or AUTEUR_AGENT__RUNNER and AUTEUR_AGENT__TARGET")
    _hide_from_other_processes()
    if os.getpid() == 1:
        fork_behind_init()
    identity = _identity(options)
    logs.configure(settings.log, service=f"agent {identity.worker}")
    send_spans = telemetry.configure(settings.telemetry, service="agent", instance=identity.worker)
    _empty_scratch(identity.scratch)
    try:
        return asyncio.run(_Program(identity, settings, options).run())
    finally:
        send_spans()
        shutil.rmtree(identity.scratch, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auteur_runner agent",
        description="Serve a pool's orders.",
        epilog="Each option can be said in the environment instead: AUTEUR_AGENT__RUNNER, …",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--runner", help="the runner's name, as it describes itself")
    parser.add_argument("--pool", help="whose orders to take (default: the runner's own)")
    parser.add_argument("--target", help="module:Class, module:runner, file.py or an installed name")
    parser.add_argument("--python", help="the interpreter of the runner's environment")
    parser.add_argument("--directory", type=Path, help="where a target that is not installed lies")
    parser.add_argument("--scratch", type=Path, help="a folder of this agent's own for attempts; emptied at start")
    parser.add_argument("--tier", help="the tier to make ready first, as JSON (default: standard)")
    parser.add_argument("--worker", help="what this worker is called (default: drawn)")
    parser.add_argument("--order", help="one order, as JSON: claim it, run it, report it and exit")
    parser.add_argument("--ready-file", type=Path, help="a file that is there while the worker is ready or busy")
    return parser


def _merge_options(said: AgentOptions, arguments: argparse.Namespace) -> AgentOptions:
    """The command line wins. Raises InvalidRequest."""
    words = dict(vars(arguments))
    for name, kind in (("tier", Tier), ("order", Order)):
        if name not in words:
            continue
        try:
            words[name] = kind.model_validate_json(words[name]) if words[name] else None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidRequest(f"--{name} {where}: {first['msg']}") from None
    return said.model_copy(update=words)


def _identity(options: AgentOptions) -> Identity:
    scratch = options.scratch or Path(tempfile.mkdtemp(prefix="auteur-agent-"))
    return Identity(
        runner=options.runner,
        pool=options.pool or names.pool(options.runner),
        target=options.target,
        python=options.python or sys.executable,
        directory=options.directory,
        scratch=scratch.resolve(),
        worker=options.worker or f"{options.runner}-{names.short_id(os.urandom(5))}",
    )


def _pod(options: AgentOptions) -> Pod:
    """Only a pod of one order leaves a termination message: a pool's worker ends when it is no longer needed."""
    left = options.termination_log or (_KUBELET_TERMINATION_LOG if _KUBELET_TERMINATION_LOG.exists() else None)
    return Pod(options.ready_file, left if options.order else None)


class _Program:
    """From the first try to reach NATS to the exit code."""

    def __init__(self, identity: Identity, settings: AgentSettings, options: AgentOptions) -> None:
        self._identity = identity
        # NATS may not be there yet: each try is short, so that SIGTERM is noticed between them.
        self._nats = settings.nats.model_copy(update={"connect_timeout": _CONNECT_TIMEOUT})
        self._options = options
        self._traceparent = settings.traceparent
        self._setup = Setup(identity, options.tier)
        self._pod = _pod(options)
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        if self._options.order is not None:
            return termination.exit_code(await self._serve_one(self._options.order))
        await self._serve()
        return os.EX_OK

    async def _serve(self) -> None:
        self._setup.begin()  # a pool's worker loads the same whatever it will be asked: NATS need not be there for that
        try:
            while not self._stopping.is_set():
                try:
                    async with self._agent() as agent:
                        await agent.run()
                except Unavailable as error:
                    await self._wait_for_nats(error)
                else:
                    return
        finally:
            await self._setup.close()

    async def _serve_one(self, order: Order) -> TerminationMessage:
        """Waits for NATS as long as for the answer to a claim."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._options.claim_patience.total_seconds()
        message = termination.stopped_before_claim(order, self._identity.worker)
        while not self._stopping.is_set():
            try:
                async with self._agent() as agent:
                    return await agent.run_once(order, self._traceparent)
            except Unavailable as error:
                if loop.time() >= until:
                    message = termination.bus_unreachable(order, self._identity.worker, str(error))
                    break
                await self._wait_for_nats(error)
        self._pod.write_termination_message(message)
        return message

    async def _wait_for_nats(self, error: Unavailable) -> None:
        log.warning("NATS unreachable, retrying", error=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._stopping.wait()

    @contextlib.asynccontextmanager
    async def _agent(self) -> AsyncIterator["Agent"]:
        """An agent with a connection of its own, which drains when this process is told to stop. Raises Unavailable."""
        bus_type, agent_type = await asyncio.to_thread(_import_agent)
        async with bus_type.connect(self._nats, name=self._identity.worker) as bus:
            agent = agent_type(self._identity, self._options, bus, self._setup, self._pod)

            async def leave_when_told() -> None:
                await self._stopping.wait()
                agent.leave()

            waiting = asyncio.create_task(leave_when_told())
            try:
                yield agent
            finally:
                waiting.cancel()


def _import_agent() -> tuple[type["Bus"], type["Agent"]]:
    """In a thread, while the child starts: the clients of NATS and S3 take longer to import than it does."""
    from auteur_kit.bus import Bus  # noqa: PLC0415  -- that is what this is for
    from auteur_runner.agent.agent import Agent  # noqa: PLC0415

    return Bus, Agent


def _hide_from_other_processes() -> None:
    """The function runs as the same user: without this it could read NATS's password in the agent's /proc/…/environ."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _empty_scratch(scratch: Path) -> None:
    """Removes what an agent that was killed here left behind."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
