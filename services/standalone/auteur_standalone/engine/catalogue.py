"""The catalogue of one machine: registered FunctionRunners and, by their workers' heartbeats, which are ready."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from auteur_contracts.errors import InvalidRequest
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunner, FunctionRunnerStatus, TierReadiness
from auteur_kit.logs import get_logger
from auteur_standalone.engine.machine import fits
from auteur_standalone.registration import check

log = get_logger()
catalogue_document: TypeAdapter[list[FunctionRunner]] = TypeAdapter(list[FunctionRunner])


@dataclass
class RunnerFolder:
    """The registered runners, read again only when a file changed."""

    path: Path
    _seen: dict[Path, tuple[int, FunctionRunner | None]] = field(default_factory=dict)

    def read(self) -> list[FunctionRunner]:
        """By name. A file that cannot be read or served is logged once and left out."""
        files = sorted(self.path.glob("*.json")) if self.path.is_dir() else []
        self._seen = {file: self._one(file) for file in files}
        return [runner for _, runner in self._seen.values() if runner is not None]

    def _one(self, file: Path) -> tuple[int, FunctionRunner | None]:
        try:
            changed = file.stat().st_mtime_ns
            known = self._seen.get(file)
            if known is not None and known[0] == changed:
                return known
            runner = FunctionRunner.model_validate_json(file.read_bytes())
            check(runner)
        except FileNotFoundError:
            return 0, None
        except (OSError, ValidationError, InvalidRequest) as error:
            log.warning("runner left out", file=file.name, error=str(error)[:500])
            return changed, None
        return changed, runner


def readiness(runner: FunctionRunner, beats: Sequence[Heartbeat], cards: tuple[float, ...]) -> FunctionRunnerStatus:
    """A runner is ready when a worker of it is; a tier when a card of this machine is large enough as well."""
    serving = [beat for beat in beats if beat.state in (WorkerState.READY, WorkerState.BUSY)]
    tiers = tuple(
        TierReadiness(
            quality=tier.quality,
            ready=bool(serving) and fits(tier.vram_gigabytes, cards),
            message=_lack(tier.vram_gigabytes, cards),
        )
        for tier in runner.spec.tiers
    )
    ready = any(tier.ready for tier in tiers)
    return FunctionRunnerStatus(
        ready=ready,
        message="" if ready else _why_not(runner, beats, cards),
        tiers=tiers,
        workers_ready=sum(beat.state is WorkerState.READY for beat in beats),
        workers_busy=sum(beat.state is WorkerState.BUSY for beat in beats),
    )


def _lack(vram_gigabytes: float, cards: tuple[float, ...]) -> str:
    if fits(vram_gigabytes, cards):
        return ""
    has = f"the largest here has {max(cards):.0f} GB" if cards else "this machine has none"
    return f"needs a GPU with {vram_gigabytes:g} GB; {has}"


def _why_not(runner: FunctionRunner, beats: Sequence[Heartbeat], cards: tuple[float, ...]) -> str:
    lacks = [_lack(tier.vram_gigabytes, cards) for tier in runner.spec.tiers]
    if all(lacks):
        return lacks[0]
    broken = next((beat for beat in beats if beat.state is WorkerState.BROKEN), None)
    if broken is not None:
        return f"its setup failed: {broken.message}"[:512]
    return "its worker is starting" if beats else "no worker of it is running"
