"""The predicted clean picture: exact where the prediction is, for each kind of scheduler."""

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from auteur_diffusion.previews import colours_of_latents, predicted_clean
from auteur_diffusion.watching import Step

CLEAN, NOISE = torch.full((1, 4, 8, 8), 0.5), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("scheduler_class", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_scaled_noise(scheduler_class: type, kind: str) -> None:
    scheduler = scheduler_class(prediction_type=kind, **BETAS)
    scheduler.set_timesteps(10)
    timestep = scheduler.timesteps[4]
    alpha = scheduler.alphas_cumprod[timestep]
    latents = alpha**0.5 * CLEAN + (1 - alpha) ** 0.5 * NOISE
    said = {
        "epsilon": NOISE,
        "v_prediction": alpha**0.5 * NOISE - (1 - alpha) ** 0.5 * CLEAN,
        "sample": CLEAN,
    }[kind]

    assert torch.allclose(predicted_clean(scheduler, Step(said, float(timestep), latents)), CLEAN, atol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_added_noise(kind: str) -> None:
    scheduler = EulerDiscreteScheduler(prediction_type=kind, **BETAS)
    scheduler.set_timesteps(10)
    sigma = scheduler.sigmas[0]
    latents = CLEAN + sigma * NOISE
    scale = (sigma**2 + 1) ** 0.5
    said = NOISE if kind == "epsilon" else (NOISE - sigma * CLEAN) / scale
    timestep = scheduler.timesteps[0]
    scheduler.scale_model_input(latents, timestep)
    scheduler.step(said, timestep, latents)

    assert torch.allclose(predicted_clean(scheduler, Step(said, float(timestep), latents)), CLEAN, atol=1e-3)


def test_flow() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(10)
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        latents = (1 - sigma) * CLEAN + sigma * NOISE
        said = NOISE - CLEAN
        scheduler.step(said, timestep, latents)
        assert torch.allclose(predicted_clean(scheduler, Step(said, float(timestep), latents)), CLEAN, atol=1e-4)


def test_colours_are_fitted_without_touching_the_jobs_noise() -> None:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        norm_num_groups=4,
        latent_channels=4,
    )
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)

    with torch.no_grad():
        colours = colours_of_latents(vae)

    assert colours.shape == (5, 3)
    assert torch.isfinite(colours).all()
    assert torch.rand(1) == expected
