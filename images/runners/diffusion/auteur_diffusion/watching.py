"""Seeing what a pipeline does while it runs: when its denoiser starts, and each step of its scheduler.

Every pipeline calls its denoiser and `scheduler.step`; a fifth of diffusers' pipelines know no `callback_on_step_end`,
and that callback shows the noisy latents only, not the prediction that a preview is made of. So these two are watched.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from auteur_diffusion.pipelines import Pipeline


@dataclass(frozen=True)
class Step:
    """One call of `scheduler.step`: what the denoiser said about which latents."""

    prediction: Tensor
    timestep: float
    latents: Tensor


@contextmanager
def watched(
    pipeline: Pipeline, *, before_denoiser: Callable[[], None], after_step: Callable[[Step], None]
) -> Iterator[None]:
    """Both callables may raise to stop the run. The pipeline is as before afterwards, however it ended."""
    scheduler = pipeline.scheduler
    original = scheduler.step

    @functools.wraps(original)  # pipelines look at the signature to see what a scheduler takes
    def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        result = original(model_output, timestep, sample, *args, **kwargs)
        after_step(Step(model_output, float(timestep), sample))
        return result

    hooks = [
        denoiser.register_forward_pre_hook(lambda *_: before_denoiser())
        for denoiser in (getattr(pipeline, "unet", None), getattr(pipeline, "transformer", None))
        if isinstance(denoiser, nn.Module)
    ]
    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step  # the class's own shows again
        for hook in hooks:
            hook.remove()
