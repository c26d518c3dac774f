"""Keeps one child ready for the right tier, and replaces it when it was killed, crashed or is not to be trusted."""

import asyncio
import time
from collections.abc import AsyncGenerator

from auteur_contracts.resources import FunctionRunner, Tier
from auteur_runner import protocol
from auteur_runner.describe import same_setup
from auteur_runner.process import CANCEL_GRACE, ChildDied, ChildProcess, Launch, OnLog, SetupFailed


class _CancelledBeforeRun(Exception):
    """The job was cancelled before its child was ready to hear of it."""


class Worker:
    """Runs one job at a time, in one child at a time."""

    def __init__(self, launch: Launch, on_log: OnLog) -> None:
        self._launch = launch
        self.on_log = on_log
        """Hears what the child prints and logs. It may become another one while the child runs."""
        self._child: ChildProcess | None = None
        self._spawning: asyncio.Task[ChildProcess] | None = None
        self._current: tuple[str, int] | None = None
        self._cancelled = False
        self.load_seconds = 0.0
        """How long the newest `setup` took."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.alive else None

    async def describe(self) -> FunctionRunner:
        """What the target serves, in its own words. Starts the child where there is none. Raises SetupFailed."""
        return (await self._ensure_child()).hello.runner

    async def prepare(self, tier: Tier) -> AsyncGenerator[protocol.Event, None]:
        """Make the child ready for the tier; nothing to do when it is. Raises SetupFailed."""
        child = await self._ensure_child()
        if same_setup(child.tier, tier):
            return
        began = time.monotonic()
        try:
            async for event in child.set_up(tier):
                yield event
        except (ChildDied, SetupFailed) as error:
            await self._kill_child()
            raise error if isinstance(error, SetupFailed) else SetupFailed(error.failure("its setup")) from error
        self.load_seconds = time.monotonic() - began

    async def run(self, order: protocol.Run) -> AsyncGenerator[protocol.Event | protocol.Ending, None]:
        """Prepare if need be and run; the last item is the ending, whatever happened to the child."""
        self._current, self._cancelled = (order.uid, order.attempt), False
        self.load_seconds = 0.0
        ending: protocol.Ending | None = None
        try:
            async for loading in self.prepare(order.tier):
                yield _while_loading(loading)
            if self._cancelled:
                ending = protocol.Cancelled()
            else:
                async for event in self._run_prepared(order):
                    if isinstance(event, protocol.Ending):
                        ending = event
                    else:
                        yield event
        except _CancelledBeforeRun:
            ending = protocol.Cancelled(forced=self.pid is None)
        except SetupFailed as error:
            ending = protocol.Cancelled(forced=True) if self._cancelled else protocol.Failed(failure=error.failure)
        except ChildDied as error:
            ending = protocol.Failed(failure=error.failure())
        finally:
            self._current = None
        if self.pid is None or (isinstance(ending, protocol.Failed) and ending.failure.recycle):
            await self._kill_child()
        yield ending or protocol.Cancelled(forced=True)

    async def _run_prepared(self, order: protocol.Run) -> AsyncGenerator[protocol.Event | protocol.Ending, None]:
        """A child that died while it was idle is replaced; its death is not this job's. Once `run` was entered (the
        child said so before) there is no second try."""
        entered = False
        try:
            async for event in (await self._ensure_child()).run(order):
                entered = True
                yield event
        except ChildDied:
            if entered:
                raise
            async for loading in self.prepare(order.tier):
                yield _while_loading(loading)
            async for event in (await self._ensure_child()).run(order):
                yield event

    def cancel(self, uid: str, attempt: int, grace: float = CANCEL_GRACE) -> None:
        """Stop this job, if it is the one that runs. While its process starts or model loads there is nobody to ask:
        they are given the grace to finish, and the process is killed then. Once is enough.
        """
        if self._current != (uid, attempt):
            return
        self._cancelled = True
        if self._spawning is not None:
            asyncio.get_running_loop().call_later(grace, self._spawning.cancel)
        elif self._child is not None:
            self._child.cancel(uid, attempt, grace)

    async def close(self) -> None:
        if self._child is not None:
            await self._child.close()
            self._child = None

    async def _ensure_child(self) -> ChildProcess:
        """Raises _CancelledBeforeRun where the job that needs it was cancelled."""
        child = self._child
        if child is None or not child.alive:
            await self._kill_child()
            self._raise_if_cancelled()
            child = self._child = await self._spawn()
        self._raise_if_cancelled()
        return child

    async def _spawn(self) -> ChildProcess:
        self._spawning = asyncio.create_task(ChildProcess.spawn(self._launch, self._hear))
        try:
            return await self._spawning
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            raise _CancelledBeforeRun from None  # by `cancel`: only the start was given up
        finally:
            self._spawning = None

    def _hear(self, line: protocol.Log) -> None:
        self.on_log(line)

    def _raise_if_cancelled(self) -> None:
        if self._current is not None and self._cancelled:
            raise _CancelledBeforeRun

    async def _kill_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()


def _while_loading(event: protocol.Event) -> protocol.Event:
    """Loading is no part of the run's fraction: it may or may not be needed, and the fraction never falls."""
    match event:
        case protocol.Progressed(progress=progress):
            return protocol.Progressed(progress=progress.model_copy(update={"fraction": 0.0}))
        case _:
            return event
