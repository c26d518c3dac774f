"""Which tiers of a runner are ready, and the sentence for those that are not. Pure, and the same on every shell."""

from collections.abc import Sequence
from dataclasses import dataclass

from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunnerStatus, TierDeclaration, TierReadiness

_LONGEST = 512


@dataclass(frozen=True)
class TierSeen:
    """What is known of a tier besides its declaration."""

    tier: TierDeclaration
    beats: Sequence[Heartbeat]
    """Of the workers that serve it."""
    lacks: str = ""
    """What it can never be ready without here: an image, a card."""
    held_up: str = ""
    """Why its worker does not start."""
    on_demand: bool = False
    """A worker is made when a job wants one: none needs to be there."""


def readiness(seen: Sequence[TierSeen]) -> FunctionRunnerStatus:
    """A tier is ready when a worker of it is, or when one would be made for a job."""
    reasons = [why_not_ready(each) for each in seen]
    tiers = tuple(
        TierReadiness(quality=each.tier.quality, ready=not why, message=why[:_LONGEST])
        for each, why in zip(seen, reasons, strict=True)
    )
    ready = any(tier.ready for tier in tiers)
    could = next((why for each, why in zip(seen, reasons, strict=True) if not each.lacks), reasons[0])
    states = [beat.state for beat in {beat for each in seen for beat in each.beats}]
    return FunctionRunnerStatus(
        ready=ready,
        message="" if ready else could[:_LONGEST],
        tiers=tiers,
        workers_ready=states.count(WorkerState.READY),
        workers_busy=states.count(WorkerState.BUSY),
    )


def why_not_ready(seen: TierSeen) -> str:
    """Empty: it is ready."""
    if seen.lacks:
        return seen.lacks
    if any(beat.state in (WorkerState.READY, WorkerState.BUSY) for beat in seen.beats):
        return ""
    broken = next((beat for beat in seen.beats if beat.state is WorkerState.BROKEN), None)
    if broken is not None:
        return f"its setup failed: {broken.message}"
    if seen.on_demand:
        return ""
    if seen.held_up:
        return seen.held_up
    return "its worker is starting" if seen.beats else "no worker of it is running"


def lacks_card(vram_gigabytes: float, largest: float | None, nobody_has_one: str, where: str) -> str:
    """`largest`: GB of the largest card that is there; None where there is none."""
    has = nobody_has_one if largest is None else f"the largest {where} has {largest:.0f} GB"
    return f"needs a GPU with {vram_gigabytes:g} GB; {has}"
