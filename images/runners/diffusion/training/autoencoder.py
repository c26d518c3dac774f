"""The autoencoder: pictures of 128x128 pixels to latents of 16x16 with 8 channels, and back."""

import itertools
import logging
import math
import random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from training.drawing import Jitter, chance_scene, draw
from training.evaluate import held_out_grid
from training.fitting import Budget, fit, separate_threads

log = logging.getLogger("train")

SIDE = 128
SCALE = 8
CHANNELS = 8


def new_autoencoder() -> AutoencoderKL:
    """8x smaller latents, 1 M parameters; no attention, so what it learns on crops holds for whole pictures."""
    channels = (16, 32, 64, 64)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIDE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def train_autoencoder(autoencoder: AutoencoderKL, budget: Budget, rng: random.Random) -> None:
    """Mean squared and absolute error, with a light pull of the latents towards a unit normal."""
    pool = crops(rng, 6000)
    whole = as_tensor(chance_pictures(rng, 1000))
    turns = itertools.count(1)

    def backward() -> float:
        source, size = (whole, 6) if next(turns) % 5 == 0 else (pool, 24)
        pixels = source[torch.randint(0, len(source), (size,))]
        latents = autoencoder.encode(pixels).latent_dist
        error = autoencoder.decode(latents.sample()).sample - pixels
        pull = latents.kl().mean() / latents.mean[0].numel()
        loss = error.square().mean() + 0.3 * error.abs().mean() + 1e-4 * pull
        loss.backward()
        return loss.item()

    test_rng = random.Random(1)
    test = as_tensor([draw(scene, SIDE, Jitter.chance(test_rng)) for scene in test_rng.sample(held_out_grid(), 48)])

    def report(step: int) -> None:
        if step % 200 == 0:
            log.info("whole held-out pictures: %.1f dB", signal_to_noise(autoencoder, test))

    fit(list(autoencoder.parameters()), backward, budget, peak_rate=2e-3, after_step=report)
    standardise(autoencoder, encode(autoencoder, chance_pictures(rng, 400)))
    log.info("autoencoder done: %.1f dB", signal_to_noise(autoencoder, test))


def crops(rng: random.Random, count: int) -> Tensor:
    """(count, 3, SIDE / 2, SIDE / 2): pieces of pictures, each with some of the shape's edge in it."""
    half, pieces = SIDE // 2, []
    while len(pieces) < count:
        jitter = Jitter(rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.8, 1.15))
        picture = draw(chance_scene(rng), SIDE, jitter)
        x, y = rng.randrange(SIDE - half + 1), rng.randrange(SIDE - half + 1)
        piece = picture.crop((x, y, x + half, y + half))
        if len(piece.getcolors(maxcolors=SIDE * SIDE)) > 8:
            pieces.append(piece)
    return as_tensor(pieces)


def chance_pictures(rng: random.Random, count: int) -> list[Image.Image]:
    return [draw(chance_scene(rng), SIDE, Jitter.chance(rng)) for _ in range(count)]


def as_tensor(pictures: list[Image.Image]) -> Tensor:
    """(n, 3, side, side) in -1..1."""
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.no_grad()
def signal_to_noise(autoencoder: AutoencoderKL, pictures: Tensor) -> float:
    """Peak signal to noise ratio of the round trip, in dB."""
    error = autoencoder.decode(autoencoder.encode(pictures).latent_dist.mean).sample.clamp(-1, 1) - pictures
    return -10 * math.log10(error.square().mean().item() / 4)


@torch.no_grad()
def standardise(autoencoder: AutoencoderKL, latents: Tensor) -> None:
    """Give every latent channel mean 0 and deviation 1 by changing the 1x1 convolutions on both sides of it.

    `latents` is (n, channels, h, w), as the autoencoder gives them so far.
    """
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    before, after, half = autoencoder.quant_conv, autoencoder.post_quant_conv, CHANNELS
    before.weight[:half] /= deviation[:, None, None, None]
    before.bias[:half] = (before.bias[:half] - mean) / deviation
    before.bias[half:] -= 2 * deviation.log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation[None, :, None, None]


def encode(autoencoder: AutoencoderKL, pictures: list[Image.Image]) -> Tensor:
    """(n, channels, SIDE / 8, SIDE / 8)."""

    @torch.no_grad()
    def encoded(batch: list[Image.Image]) -> Tensor:
        return autoencoder.encode(as_tensor(batch)).latent_dist.mean

    with separate_threads() as threads:
        return torch.cat(list(threads.map(encoded, (pictures[i : i + 32] for i in range(0, len(pictures), 32)))))
