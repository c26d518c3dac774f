"""Making the child ready for a tier. The first try may begin before there is a NATS to tell of it: what a model's
imports take is longer than everything else that starts with it.
"""

import asyncio
import contextlib

from auteur_contracts.resources import Tier
from auteur_kit.logs import get_logger
from auteur_runner import protocol
from auteur_runner.agent import decisions
from auteur_runner.agent.settings import Identity
from auteur_runner.process import Launch, SetupFailed
from auteur_runner.worker import Worker

log = get_logger()


class Setup:
    """Of one worker, which it makes and closes."""

    def __init__(self, identity: Identity, tier: Tier | None) -> None:
        self._runner = identity.runner
        self._tier = tier
        self._first: asyncio.Task[None] | None = None
        launch = Launch(identity.python, identity.target, identity.directory)
        self.worker = Worker(launch, lambda line: log.info("function output", stream=line.stream, line=line.line))

    def begin(self) -> None:
        """Start the first try; `finish` comes to its end."""
        self._first = asyncio.create_task(self._try())

    async def finish(self) -> None:
        """One try: the one that was begun, or another. Raises SetupFailed."""
        first, self._first = self._first, None
        await (first or self._try())

    async def close(self) -> None:
        if self._first is not None:
            self._first.cancel()
            with contextlib.suppress(asyncio.CancelledError, SetupFailed):
                await self._first
            self._first = None
        await self.worker.close()

    async def _try(self) -> None:
        described = await self.worker.describe()
        if wrong := decisions.refused_runner(described, self._runner):
            raise SetupFailed(decisions.broken(wrong))
        self._tier = self._tier or decisions.first_tier(described)
        try:
            async with asyncio.timeout(described.spec.setup_timeout.total_seconds()):
                async for event in self.worker.prepare(self._tier):
                    if isinstance(event, protocol.Progressed):
                        log.info("setting up", phase=event.progress.phase)
        except TimeoutError as error:
            await self.worker.close()
            took = described.spec.setup_timeout.total_seconds()
            raise SetupFailed(decisions.broken(f"setup took longer than its timeout of {took:g} s")) from error
