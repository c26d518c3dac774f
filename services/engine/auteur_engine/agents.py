"""Who executes attempts on one machine: the agents of the registered runners, as their heartbeats show them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from auteur_contracts import names
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus, TierDeclaration
from auteur_control.carriers import Carriers, Catalogue
from auteur_control.readiness import TierSeen, lacks_card, readiness
from auteur_engine.machine import fits
from auteur_engine.runner_folder import RunnerFolder
from auteur_lifecycle.capabilities import ONE_MACHINE
from auteur_lifecycle.fleet import Fleet

_EVERY = 1.0


class LocalAgents(Carriers):
    """`cards`: GPU memory of the machine, in GB."""

    platform = ONE_MACHINE

    def __init__(self, folder: RunnerFolder, fleet: Fleet, cards: tuple[float, ...], namespace: str) -> None:
        self._folder = folder
        self._fleet = fleet
        self._cards = cards
        self._namespace = namespace
        self._runners: tuple[FunctionRunner, ...] = ()
        self._states: dict[str, WorkerState] = {}
        """worker → what it said last of itself"""
        self._on_pool_changed: Callable[[str], None] = lambda _: None
        self._refresh()

    async def run(self, on_pool_changed: Callable[[str], None]) -> None:
        """Until cancelled: looks for runners that were registered, changed or removed."""
        self._on_pool_changed = on_pool_changed
        while True:
            self._refresh()
            await asyncio.sleep(_EVERY)

    def _refresh(self) -> None:
        before = {runner.metadata.name: runner.status.ready for runner in self._runners}
        self._runners = tuple(self._with_readiness(runner) for runner in self._folder.read())
        for runner in self._runners:
            name = runner.metadata.name
            if before.get(name) is not runner.status.ready:
                self._on_pool_changed(names.pool(name))

    def _with_readiness(self, runner: FunctionRunner) -> FunctionRunner:
        beats = self._fleet.of_runner(runner.metadata.name)
        seen = [TierSeen(tier, beats, lacks=self._lack(tier)) for tier in runner.spec.tiers]
        return runner.model_copy(update={"status": readiness(seen)})

    def _lack(self, tier: TierDeclaration) -> str:
        if fits(tier.vram_gigabytes, self._cards):
            return ""
        largest = max(self._cards, default=None)
        return lacks_card(tier.vram_gigabytes, largest, "this machine has none", "here")

    # ── what the control plane asks ───────────────────────────────────────────────────────────────────────────────

    def catalogue(self, namespace: str) -> Catalogue:  # noqa: ARG002  # one machine has one for all
        return self._runners

    def catalogues(self) -> Mapping[str, Catalogue]:
        return {self._namespace: self._runners}

    def on_heartbeat(self, beat: Heartbeat) -> None:
        if self._states.get(beat.worker) is not beat.state:
            self._states[beat.worker] = beat.state
            self._refresh()

    def on_lost(self, workers: Sequence[str]) -> None:
        for worker in workers:
            self._states.pop(worker, None)
        self._refresh()

    def bars(self, job: GenerationJob, now: datetime) -> GenerationJobStatus | None:  # noqa: ARG002
        """A job whose tier fits no card of this machine joins no queue, where it would hold up others; its status says
        what is missing.
        """
        plan = job.status.plan
        return None if plan is not None and fits(plan.tier.vram_gigabytes, self._cards) else job.status
