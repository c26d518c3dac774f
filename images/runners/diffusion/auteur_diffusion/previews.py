"""Unfinished pictures: what the denoiser believes the clean picture is, not the noise it is still working on.

A small VAE decodes it; a large one would cost more than the step, so there a linear map from latents to colours does.
"""

import math
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from auteur_diffusion.pipelines import Pipeline
from auteur_diffusion.watching import Step

SMALL_VAE = 5_000_000
"""Parameters up to which decoding is cheap beside a denoising step. SD's and FLUX's have 84 million."""
_SAMPLES, _SIDE = 12, 256


class Previewer:
    """Of one pipeline's components; the map to colours is made when it is first needed."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._vae = getattr(pipeline, "vae", None)
        parameters = self._vae.parameters() if self._vae is not None else ()
        self._decodes = sum(parameter.numel() for parameter in parameters) <= SMALL_VAE
        self._colours: Tensor | None = None

    @torch.no_grad()
    def picture(self, pipeline: Pipeline, step: Step, size: tuple[int, int]) -> Image.Image | None:
        """None where the kind of scheduler is not known, or the pipeline has no latents."""
        clean = predicted_clean(pipeline.scheduler, step)
        if clean is None or self._vae is None:
            return None
        latents = _unpacked(pipeline, clean[:1], size)
        config = self._vae.config
        latents = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0)
        if self._decodes:
            pixels = self._vae.decode(latents.to(self._vae.device, self._vae.dtype)).sample[0]
        else:
            if self._colours is None:
                self._colours = colours_of_latents(self._vae)
            pixels = _in_colours(latents[0].float().cpu(), self._colours)
        return _as_image(pixels)


def predicted_clean(scheduler: Any, step: Step) -> Tensor | None:
    """The clean latents that a prediction amounts to, by the scheduler's kind of noise."""
    kind = scheduler.config.get("prediction_type", "epsilon")
    said, latents = step.prediction.float(), step.latents.float()
    sigmas: Tensor | None = getattr(scheduler, "sigmas", None)
    if sigmas is not None and ("FlowMatch" in type(scheduler).__name__ or kind == "flow_prediction"):
        return latents - _sigma(scheduler) * said
    if sigmas is not None and float(scheduler.init_noise_sigma) > 1.5:  # Euler and its kin: noise is added, unscaled
        sigma = _sigma(scheduler)
        match kind:
            case "epsilon":
                return latents - sigma * said
            case "v_prediction":
                return latents / (sigma**2 + 1) - said * sigma / math.sqrt(sigma**2 + 1)
            case "sample":
                return said
    cumulated: Tensor | None = getattr(scheduler, "alphas_cumprod", None)
    if cumulated is None:
        return None
    alpha: float = cumulated[min(round(step.timestep), len(cumulated) - 1)].item()
    match kind:
        case "epsilon":
            return (latents - math.sqrt(1 - alpha) * said) / math.sqrt(max(alpha, 1e-4))
        case "v_prediction":
            return math.sqrt(alpha) * latents - math.sqrt(1 - alpha) * said
        case "sample":
            return said
    return None


def colours_of_latents(vae: Any) -> Tensor:
    """(channels + 1, 3): the linear map that fits best what the VAE itself makes of soft colours."""
    pictures = _soft_colours()
    latents = torch.cat(
        [vae.encode(p[None].to(vae.device, vae.dtype)).latent_dist.mode().float().cpu() for p in pictures]
    )
    small = torch.nn.functional.adaptive_avg_pool2d(pictures, (latents.shape[-2], latents.shape[-1]))
    rows = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
    fit: Tensor = torch.linalg.lstsq(rows, small.permute(0, 2, 3, 1).reshape(-1, 3)).solution
    return fit


def _sigma(scheduler: Any) -> float:
    """Of the step just done: the scheduler has counted on already."""
    return float(scheduler.sigmas[scheduler.step_index - 1])


def _unpacked(pipeline: Pipeline, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """FLUX and its kin keep latents as a row of 2x2 patches."""
    if latents.ndim == 3:
        width, height = size
        unpacked: Tensor = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)  # noqa: SLF001
        return unpacked
    return latents


def _in_colours(latents: Tensor, colours: Tensor) -> Tensor:
    """(channels, h, w) → (3, h, w)."""
    return torch.einsum("chw,cr->rhw", latents, colours[:-1]) + colours[-1][:, None, None]


def _as_image(pixels: Tensor) -> Image.Image:
    """From -1..1."""
    levels = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _soft_colours() -> Tensor:
    """Pictures of a few blurred colours, always the same, by a generator of its own: the job's noise is not touched."""
    coarse = torch.rand(_SAMPLES, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(_SIDE, _SIDE), mode="bicubic").clamp(-1, 1)
