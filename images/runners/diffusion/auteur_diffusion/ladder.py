"""How a model is fitted into memory, as a table: rungs from roomy to tight, and which one a machine stands on. Pure.

The numbers are budgets to test against: published ones for FLUX.1-dev (12 B parameters, bf16 23.8 GB, T5 9.5 GB).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from auteur_contracts.catalogue import counts_as
from auteur_contracts.vocabulary import Reason
from auteur_runner import InvalidRequest, PlatformError

UNLIMITED = 1 << 40


class Dtype(StrEnum):
    """Names of torch's types."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Quantization(StrEnum):
    NONE = "none"
    NF4 = "nf4"


class Offload(StrEnum):
    """Where components wait until they are needed."""

    NONE = "none"
    MODEL = "model"
    """In RAM, moved to the card one component at a time."""
    SEQUENTIAL = "sequential"
    """In RAM, moved layer by layer: fits almost anywhere, and is very slow."""


class Optimization(StrEnum):
    """The words a tier may use."""

    CPU_OFFLOADING = "cpu-offloading"
    SEQUENTIAL = "sequential"
    """One thing at a time: the VAE works in slices and tiles."""
    MODERATE_PARALLEL = "moderate-parallel"
    FULL_PARALLEL = "full-parallel"
    """Everything stays on the card where it fits."""
    GROUP_OFFLOAD = "group-offload"
    COMPILE = "compile"


NOT_YET = frozenset({Optimization.GROUP_OFFLOAD, Optimization.COMPILE})
"""Named, so that tiers can be written with them once they are built; refused until then, never ignored."""


@dataclass(frozen=True)
class Rung:
    name: str
    min_free_gib: float
    """Of the card; 0: runs on the CPU."""
    host_ram_gib: float
    dtype: Dtype
    quantization: Quantization = Quantization.NONE
    offload: Offload = Offload.NONE
    vae_slicing: bool = False
    vae_tiling: bool = False
    max_pixels: int = UNLIMITED


CARD_RUNGS = (
    Rung("full", 40, 48, Dtype.BFLOAT16),
    Rung("high", 22, 40, Dtype.BFLOAT16, Quantization.NF4, vae_slicing=True),
    Rung("standard", 15, 32, Dtype.BFLOAT16, Quantization.NF4, Offload.MODEL, vae_slicing=True, vae_tiling=True),
    Rung("low", 11, 32, Dtype.BFLOAT16, Quantization.NF4, Offload.MODEL, True, True, max_pixels=768 * 768),
    Rung("floor", 4, 48, Dtype.BFLOAT16, Quantization.NONE, Offload.SEQUENTIAL, True, True, max_pixels=768 * 768),
)
CPU_RUNGS = (
    Rung("cpu", 0, 1, Dtype.FLOAT32),
    Rung("cpu-tiled", 0, 1, Dtype.FLOAT32, vae_slicing=True, vae_tiling=True),
)


@dataclass(frozen=True)
class Room:
    """The memory a pipeline may take."""

    card_gib: float
    """Free on the card now; 0 without one."""
    card_total_gib: float
    host_gib: float


def rungs_of(vram_gigabytes: float, optimizations: Iterable[str]) -> tuple[Rung, ...]:
    """The rungs a tier may stand on. Raises InvalidRequest(NotSupported) for an optimization that is not acted on."""
    wanted = {_known(word) for word in optimizations}
    if not vram_gigabytes:
        return CPU_RUNGS
    rungs: Sequence[Rung] = CARD_RUNGS
    if Optimization.CPU_OFFLOADING in wanted:
        rungs = [rung for rung in rungs if rung.offload is not Offload.NONE]
    if Optimization.SEQUENTIAL in wanted:
        rungs = [rung for rung in rungs if rung.vae_slicing and rung.vae_tiling]
    return tuple(rungs)


def check_card(total_gib: float, vram_gigabytes: float) -> None:
    """Raises PlatformError for a card that is too small, or absent (0)."""
    if counts_as(total_gib, vram_gigabytes):
        return
    has = f"has one with {total_gib:.0f} GiB" if total_gib else "has none"
    raise PlatformError(f"This tier needs a CUDA card with {vram_gigabytes:g} GB of memory; this machine {has}.")


def choose(rungs: Sequence[Rung], room: Room, *, vram_gigabytes: float) -> Rung:
    """The roomiest rung that fits into both the tier's claim and the machine. Raises PlatformError when none does."""
    check_card(room.card_total_gib, vram_gigabytes)
    card = min(room.card_gib, vram_gigabytes) if vram_gigabytes else room.card_gib
    fitting = [rung for rung in rungs if rung.min_free_gib <= card and rung.host_ram_gib <= room.host_gib]
    if fitting:
        return fitting[0]
    least = min(rungs, key=lambda rung: rung.min_free_gib)
    raise PlatformError(
        f'Not even the tightest plan, "{least.name}", fits: it needs {least.min_free_gib:g} GiB of card memory and '
        f"{least.host_ram_gib:g} GiB of RAM, and {card:.1f} and {room.host_gib:.1f} are free. "
        "Stop what else uses them, or ask for a lower quality."
    )


def step_down(rungs: Sequence[Rung], rung: Rung) -> Rung | None:
    """The next tighter one; None at the bottom."""
    below = rungs[rungs.index(rung) + 1 :]
    return below[0] if below else None


def _known(word: str) -> Optimization:
    try:
        found = Optimization(word)
    except ValueError:
        known = ", ".join(sorted(set(Optimization) - NOT_YET))
        message = f'the optimization "{word}" is not known to this runner; it has {known}'
        raise InvalidRequest(message, reason=Reason.NOT_SUPPORTED) from None
    if found in NOT_YET:
        message = f'the optimization "{word}" is planned and not acted on yet; take it out of the tier'
        raise InvalidRequest(message, reason=Reason.NOT_SUPPORTED)
    return found
