"""Which plan a machine runs a tier by: tables, no card needed."""

import pytest

from auteur_contracts.vocabulary import Reason
from auteur_diffusion import ladder
from auteur_diffusion.flux import flux
from auteur_diffusion.ladder import CARD_RUNGS, CPU_RUNGS, Offload, Room, choose, rungs_of, step_down
from auteur_diffusion.tiny import tiny
from auteur_runner import InvalidRequest, PlatformError, Quality

NO_CARD = Room(card_gib=0, card_total_gib=0, host_gib=16)


def card(gib: float, free: float | None = None, host: float = 64) -> Room:
    return Room(card_gib=gib if free is None else free, card_total_gib=gib, host_gib=host)


@pytest.mark.parametrize(
    ("quality", "room", "expected"),
    [
        (Quality.DRAFT, card(11.6), "low"),
        (Quality.DRAFT, card(80), "low"),  # a tier keeps to its claim on a card that others may share
        (Quality.STANDARD, card(15.7), "standard"),
        (Quality.STANDARD, card(15.7, free=12), "low"),
        (Quality.HIGH, card(23.6), "high"),
        (Quality.ULTRA, card(23.6, host=33), "standard"),
        (Quality.HIGH, card(23.6, free=5), "floor"),
    ],
)
def test_the_roomiest_plan_that_fits(quality: Quality, room: Room, expected: str) -> None:
    tier = next(tier for tier in flux.tiers if tier.quality is quality)

    chosen = choose(rungs_of(tier.vram_gigabytes, tier.optimizations), room, vram_gigabytes=tier.vram_gigabytes)

    assert chosen.name == expected


def test_every_tier_of_the_tiny_model_runs_on_the_cpu_even_beside_a_card() -> None:
    for tier in tiny.tiers:
        rungs = rungs_of(tier.vram_gigabytes, tier.optimizations)
        assert choose(rungs, card(80), vram_gigabytes=tier.vram_gigabytes).name == "cpu"


@pytest.mark.parametrize(
    ("room", "sentence"),
    [
        (NO_CARD, "This tier needs a CUDA card with 16 GB of memory; this machine has none."),
        (card(12), "This tier needs a CUDA card with 16 GB of memory; this machine has one with 12 GiB."),
        (card(16, free=2), 'Not even the tightest plan, "floor", fits: it needs 4 GiB of card memory and'),
    ],
)
def test_a_machine_that_cannot_says_why(room: Room, sentence: str) -> None:
    with pytest.raises(PlatformError) as refused:
        choose(CARD_RUNGS, room, vram_gigabytes=16)

    assert str(refused.value).startswith(sentence)


def test_each_ladder_gets_tighter_downwards() -> None:
    for rungs in (CARD_RUNGS, CPU_RUNGS):
        below = [step_down(rungs, rung) for rung in rungs]
        assert below == [*rungs[1:], None]
        assert [rung.min_free_gib for rung in rungs] == sorted((rung.min_free_gib for rung in rungs), reverse=True)


def test_cpu_offloading_leaves_nothing_resident() -> None:
    rungs = rungs_of(12, ["cpu-offloading", "sequential"])

    assert [rung.name for rung in rungs] == ["standard", "low", "floor"]
    assert Offload.NONE not in {rung.offload for rung in rungs}


@pytest.mark.parametrize("word", ["group-offload", "compile", "turbo"])
def test_an_optimization_that_is_not_acted_on_is_refused(word: str) -> None:
    with pytest.raises(InvalidRequest, match=word) as refused:
        rungs_of(24, [word])

    assert refused.value.reason is Reason.NOT_SUPPORTED


def test_the_quality_presets_are_the_designs() -> None:
    presets = {
        tier.quality.value: (tier.pipeline, tier.vram_gigabytes, tier.defaults["steps"], tier.defaults["width"])
        for tier in flux.tiers
    }

    assert presets == {
        "draft": ("gms-flux:1.0-low-vram", 12, 10, 512),
        "standard": ("gms-flux:1.0-standard", 16, 20, 1024),
        "high": ("gms-flux:1.0-high-fidelity", 24, 30, 1536),
        "ultra": ("gms-flux:1.0-high-fidelity", 24, 50, 2048),
    }
    assert ladder.NOT_YET.isdisjoint(word for tier in flux.tiers for word in tier.optimizations)
