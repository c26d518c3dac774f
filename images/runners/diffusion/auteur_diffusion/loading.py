"""The runners' `setup`: the one place where a process turns from declarations to torch."""

import os
from typing import TYPE_CHECKING

from auteur_runner import SetupContext

if TYPE_CHECKING:
    from auteur_diffusion.painter import Painter


def load(ctx: SetupContext) -> "Painter":
    """Load the tier's pipeline once; both functions share it."""
    # Read by diffusers when it is imported: a model folder is data, and may not bring code along.
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "true"
    # Read by CUDA's libraries when they start: without it torch refuses to promise repeatable sums.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Read by OpenMP when torch loads it: spinning at barriers makes a busy machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ctx.phase("loading model"):
        from auteur_diffusion.painter import Painter  # noqa: PLC0415 -- torch takes seconds, and `describe` needs none
        from auteur_diffusion.settings import Settings  # noqa: PLC0415

        return Painter.load(ctx.tier, Settings.read(os.environ))
