"""The runners' `setup`: the one place where a process turns from declarations to torch."""

import ctypes
import os
from typing import TYPE_CHECKING

from auteur_diffusion.ladder import check_card
from auteur_runner import SetupContext

if TYPE_CHECKING:
    from auteur_diffusion.painter import Painter


def load(ctx: SetupContext) -> "Painter":
    """Load the tier's pipeline once; both functions share it."""
    if ctx.tier.vram_gigabytes and not _has_cuda():
        # A worker asks again and again whether a card has come; importing torch for each "no" would cost seconds.
        check_card(0, ctx.tier.vram_gigabytes)
    # Read by diffusers when it is imported: a model folder is data, and may not bring code along.
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "true"
    # Read by CUDA's libraries when they start: without it torch cannot promise repeatable sums.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Read by OpenMP when torch loads it: threads that spin while they wait make a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read by transformers when it is imported: what it misses (torchvision) this runner does not use.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with ctx.phase("loading model"):
        from auteur_diffusion.painter import Painter  # noqa: PLC0415 -- torch takes seconds, and `describe` needs none
        from auteur_diffusion.settings import Settings  # noqa: PLC0415 -- goes with it

        return Painter.load(ctx.tier, Settings.read(os.environ))


def _has_cuda() -> bool:
    """Whether the driver's library is there. What card it drives is torch's to say."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
