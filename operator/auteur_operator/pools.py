"""How many warm workers a tier keeps: up at once with demand, down when idle, never one that is busy. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from auteur_contracts.names import TierPool
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunner, TierDeclaration, Warm
from auteur_contracts.vocabulary import Quality
from auteur_control.readiness import TierSeen, lacks_card
from auteur_operator.diagnosis import HeldUp, Node, has_card


@dataclass(frozen=True)
class Demand:
    """Of one tier, now."""

    waiting: int
    """In the queue, or ordered and not claimed."""
    busy: int
    """Warm workers with a job."""
    under_pressure: bool = False
    """Another job has been unschedulable for a while: spare workers stand in its way."""


@dataclass(frozen=True)
class Surplus:
    """There are more workers than are needed."""

    since: datetime
    most: int
    """How many of them were needed at once since then: a worker that had a job in between was not idle."""


@dataclass(frozen=True)
class Size:
    replicas: int
    surplus: Surplus | None = None
    again_at: datetime | None = None
    """When to look though nothing happened."""


def size(warm: Warm, demand: Demand, have: int, surplus: Surplus | None, now: datetime) -> Size:
    least = 0 if demand.under_pressure else warm.min
    wanted = min(max(demand.busy + demand.waiting, least), warm.max)
    needed = max(wanted, demand.busy)
    have = min(have, max(warm.max, needed))  # a maximum that was lowered does not wait for idleness
    if have <= needed or demand.under_pressure:
        return Size(needed)
    idle = timedelta(seconds=warm.idle_seconds)
    known = Surplus(surplus.since, max(surplus.most, needed)) if surplus else Surplus(now, needed)
    if now < known.since + idle:
        return Size(have, known, known.since + idle)
    kept = min(have, known.most)
    return Size(kept) if kept == needed else Size(kept, Surplus(now, needed), now + idle)


def tiers_seen(
    runner: FunctionRunner,
    beats: Sequence[Heartbeat],
    nodes: Sequence[Node] | None,
    held_up: Mapping[Quality, HeldUp],
) -> list[TierSeen]:
    """`nodes`: None where their labels do not tell of cards. `held_up`: tiers whose worker cannot start."""
    return [
        _seen(runner, tier, _tier_beats(runner, tier.quality, beats), nodes, held_up.get(tier.quality))
        for tier in runner.spec.tiers
    ]


def _seen(
    runner: FunctionRunner,
    tier: TierDeclaration,
    beats: Sequence[Heartbeat],
    nodes: Sequence[Node] | None,
    held_up: HeldUp | None,
) -> TierSeen:
    serving = any(beat.state in (WorkerState.READY, WorkerState.BUSY) for beat in beats)
    return TierSeen(
        tier=tier,
        beats=beats,
        lacks="" if serving else _lack(runner, tier.vram_gigabytes, nodes),  # whoever serves has what it needs
        held_up=held_up.message if held_up else "",
        on_demand=not tier.warm.min,
    )


def _tier_beats(runner: FunctionRunner, quality: Quality, beats: Sequence[Heartbeat]) -> list[Heartbeat]:
    pool = str(TierPool(runner.metadata.namespace, runner.metadata.name, quality.value))
    return [beat for beat in beats if beat.pool == pool]


def _lack(runner: FunctionRunner, vram_gigabytes: float, nodes: Sequence[Node] | None) -> str:
    if not runner.spec.image:
        return "spec.image is empty: a cluster starts workers from it"
    if nodes is None or has_card(nodes, vram_gigabytes):
        return ""
    largest = max((node.gpu_gigabytes for node in nodes), default=0)
    return lacks_card(vram_gigabytes, largest or None, "no node of the cluster has one", "of the cluster")
