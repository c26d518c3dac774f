"""How many warm workers a tier keeps: up at once with demand, down when idle, never one that is busy. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts.names import TierPool
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunner, FunctionRunnerStatus, TierDeclaration, TierReadiness, Warm
from auteur_contracts.vocabulary import Quality
from auteur_operator.diagnosis import HeldUp, Node, has_card


@dataclass(frozen=True)
class Demand:
    """Of one tier, now."""

    waiting: int
    """In line, or ordered and not claimed."""
    busy: int
    """Warm workers with a job."""
    squeezed: bool = False
    """Another job has been unschedulable for a while: spare workers stand in its way."""


@dataclass(frozen=True)
class Surplus:
    """There are more workers than are needed."""

    since: datetime
    most: int
    """Of them that were needed at once since then: whoever worked in between was not idle."""


@dataclass(frozen=True)
class Size:
    replicas: int
    surplus: Surplus | None = None
    again_at: datetime | None = None
    """When to look though nothing happened."""


def size(warm: Warm, demand: Demand, have: int, surplus: Surplus | None, now: datetime) -> Size:
    least = 0 if demand.squeezed else warm.min
    wanted = min(max(demand.busy + demand.waiting, least), warm.max)
    needed = max(wanted, demand.busy)
    have = min(have, max(warm.max, needed))  # a maximum that was lowered does not wait for idleness
    if have <= needed or demand.squeezed:
        return Size(needed)
    idle = timedelta(seconds=warm.idle_seconds)
    known = Surplus(surplus.since, max(surplus.most, needed)) if surplus else Surplus(now, needed)
    if now < known.since + idle:
        return Size(have, known, known.since + idle)
    kept = min(have, known.most)
    return Size(kept) if kept == needed else Size(kept, Surplus(now, needed), now + idle)


def readiness(
    runner: FunctionRunner,
    beats: Sequence[Heartbeat],
    nodes: Sequence[Node] | None,
    held_up: Mapping[Quality, HeldUp],
) -> FunctionRunnerStatus:
    """A tier is ready when a worker of it is, or when one would be made for a job and a node could take it. `nodes`:
    None where their labels do not tell which cards there are. `held_up`: tiers whose worker cannot start.
    """
    own = [(tier, _tier_beats(runner, tier.quality, beats)) for tier in runner.spec.tiers]
    reasons = [(tier.quality, _why_not(runner, tier, heard, nodes, held_up.get(tier.quality))) for tier, heard in own]
    tiers = tuple(TierReadiness(quality=quality, ready=not why, message=why[:512]) for quality, why in reasons)
    ready = any(tier.ready for tier in tiers)
    states = [beat.state for _, heard in own for beat in heard]
    return FunctionRunnerStatus(
        ready=ready,
        message="" if ready else tiers[0].message,
        tiers=tiers,
        workers_ready=states.count(WorkerState.READY),
        workers_busy=states.count(WorkerState.BUSY),
    )


def _why_not(
    runner: FunctionRunner,
    tier: TierDeclaration,
    beats: Sequence[Heartbeat],
    nodes: Sequence[Node] | None,
    held_up: HeldUp | None,
) -> str:
    """Empty: it is ready."""
    if any(beat.state in (WorkerState.READY, WorkerState.BUSY) for beat in beats):
        return ""
    if not runner.spec.image:
        return "spec.image is empty: a cluster starts workers from it"
    if nodes is not None and not has_card(nodes, tier.vram_gigabytes):
        return _lack(tier.vram_gigabytes, nodes)
    if (broken := next((beat for beat in beats if beat.state is WorkerState.BROKEN), None)) is not None:
        return f"its setup failed: {broken.message}"
    if not tier.warm.min:
        return ""
    if held_up is not None:
        return held_up.message
    return "its worker is starting" if beats else "no worker of it is running"


def _tier_beats(runner: FunctionRunner, quality: Quality, beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    pool = str(TierPool(runner.metadata.namespace, runner.metadata.name, quality.value))
    return [beat for beat in beats if beat.pool == pool]


def _lack(vram_gigabytes: float, nodes: Sequence[Node]) -> str:
    largest = max((node.gpu_gigabytes for node in nodes), default=0)
    has = f"the largest of the cluster has {largest} GB" if largest else "no node of the cluster has one"
    return f"needs a GPU with {vram_gigabytes:g} GB; {has}"
