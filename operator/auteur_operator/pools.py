"""How many warm workers a tier keeps: up at once with demand, down when idle, never one that is busy. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts.names import TierPool
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunner, FunctionRunnerStatus, TierReadiness, Warm
from auteur_operator.desired import NOMINAL
from auteur_operator.diagnosis import HeldUp, Node


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
class Size:
    replicas: int
    surplus_since: datetime | None
    """Since when there are more than are needed; None while there are not."""
    again_at: datetime | None = None
    """When to look though nothing happened."""


def size(warm: Warm, demand: Demand, now_replicas: int, surplus_since: datetime | None, now: datetime) -> Size:
    needed = demand.busy + demand.waiting
    least = 0 if demand.squeezed else warm.min
    wanted = max(min(needed, warm.max), min(least, warm.max))
    floor = max(wanted, demand.busy)
    if now_replicas <= floor:
        return Size(floor, None)
    if demand.squeezed:
        return Size(floor, None)
    since = surplus_since or now
    due = since + timedelta(seconds=warm.idle_seconds)
    # More than the maximum (it was lowered) does not wait for idleness.
    if now >= due or now_replicas > warm.max:
        return Size(
            floor if now >= due else max(floor, min(now_replicas, warm.max)), None if now >= due else since, due
        )
    return Size(now_replicas, since, due)


def readiness(
    runner: FunctionRunner, beats: Sequence[Heartbeat], nodes: Sequence[Node], held_up: HeldUp | None
) -> FunctionRunnerStatus:
    """A tier is ready when a worker of it is, or when one would be made for a job and a node could take it."""
    by_tier = {tier.quality: _tier_beats(runner, tier.quality.value, beats) for tier in runner.spec.tiers}
    tiers = []
    for tier in runner.spec.tiers:
        own = by_tier[tier.quality]
        lack = "" if not runner.spec.image else _lack(tier.vram_gigabytes, nodes)
        serving = any(beat.state in (WorkerState.READY, WorkerState.BUSY) for beat in own)
        broken = next((beat for beat in own if beat.state is WorkerState.BROKEN), None)
        why = "spec.image is empty: a cluster starts workers from it" if not runner.spec.image else lack
        if not why and not serving and broken is not None:
            why = f"its setup failed: {broken.message}"
        if not why and not serving and tier.warm.min > 0:
            why = held_up.message if held_up else ("its worker is starting" if own else "no worker of it is running")
        tiers.append(TierReadiness(quality=tier.quality, ready=serving or not why, message=why[:512]))
    ready = any(tier.ready for tier in tiers)
    all_beats = [beat for own in by_tier.values() for beat in own]
    return FunctionRunnerStatus(
        ready=ready,
        message="" if ready else next((tier.message for tier in tiers if tier.message), ""),
        tiers=tuple(tiers),
        workers_ready=sum(beat.state is WorkerState.READY for beat in all_beats),
        workers_busy=sum(beat.state is WorkerState.BUSY for beat in all_beats),
    )


def _tier_beats(runner: FunctionRunner, quality: str, beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    pool = str(TierPool(runner.metadata.namespace, runner.metadata.name, quality))
    return [beat for beat in beats if beat.pool == pool]


def _lack(vram_gigabytes: float, nodes: Sequence[Node]) -> str:
    if not vram_gigabytes or any(node.gpu_memory_gigabytes >= NOMINAL * vram_gigabytes for node in nodes):
        return ""
    largest = max((node.gpu_memory_gigabytes for node in nodes), default=0.0)
    has = f"the largest of the cluster has {largest:.0f} GB" if largest else "no node of the cluster has one"
    return f"needs a GPU with {vram_gigabytes:g} GB; {has}"
