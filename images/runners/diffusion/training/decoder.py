"""A last polish of the decoder alone: the latents stay what they are, so the denoiser need not be trained again.

The autoencoder learns on crops, where a shape is always large; here are whole pictures, most of small shapes.
"""

import argparse
import logging
import random
import sys
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from training.autoencoder import SIDE, as_tensor, encode
from training.drawing import Jitter, Scene, chance_scene, draw
from training.evaluate import held_out_grid, judge, table_row
from training.fitting import Budget, fit
from training.folder import save

log = logging.getLogger("train")

BATCH = 8


def mostly_small(rng: random.Random) -> Scene:
    """Thin points and narrow rims are what a decoder blurs first."""
    scene = chance_scene(rng)
    harder = replace(scene, size="small", shape=rng.choice((scene.shape, "star", "ring")))
    return scene if rng.random() < 0.3 or harder.held_out else harder


def attention(pixels: Tensor) -> Tensor:
    """(n, 1, side, side), 1 on average: a shape and its surroundings count as much as all the rest."""
    differs = (pixels - pixels[:, :, :1, :1]).abs().amax(1, keepdim=True).gt(0.1).float()
    near = nn.functional.max_pool2d(differs, 9, stride=1, padding=4)
    return 0.5 + 0.5 * near / near.mean((1, 2, 3), keepdim=True)


def polish(autoencoder: AutoencoderKL, budget: Budget, rng: random.Random, *, pictures: int) -> None:
    """Decode slightly noisy latents, as the denoiser leaves them."""
    drawn = [draw(mostly_small(rng), SIDE, Jitter.chance(rng)) for _ in range(pictures)]
    latents = encode(autoencoder, drawn)
    log.info("%d pictures encoded", pictures)

    def backward() -> float:
        chosen = torch.randint(0, pictures, (BATCH,))
        pixels = as_tensor([drawn[index] for index in chosen.tolist()])
        clean = latents[chosen]
        noisy = clean + 0.15 * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(clean)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = autoencoder.decode(noisy).sample
        error = decoded.float() - pixels
        loss = (attention(pixels) * (error.square() + 0.3 * error.abs())).mean()
        loss.backward()
        return loss.item()

    def report(step: int) -> None:
        if step % 200 == 0:
            log.info("round trip: %s", table_row(judge(*pair) for pair in round_trips(autoencoder)))

    trained = [*autoencoder.post_quant_conv.parameters(), *autoencoder.decoder.parameters()]
    fit(trained, backward, budget, peak_rate=1e-3, after_step=report)
    log.info("round trip at the end: %s", table_row(judge(*pair) for pair in round_trips(autoencoder)))


@torch.no_grad()
def round_trips(autoencoder: AutoencoderKL) -> list[tuple[Scene, Image.Image]]:
    """Small held-out stars and rings, encoded and decoded again."""
    rng = random.Random(3)
    scenes = [scene for scene in held_out_grid() if scene.size == "small" and scene.shape in {"star", "ring"}]
    decoded = autoencoder.decode(encode(autoencoder, [draw(s, SIDE, Jitter.chance(rng)) for s in scenes])).sample
    pixels = decoded.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [(scene, Image.fromarray(array)) for scene, array in zip(scenes, pixels, strict=True)]


def main() -> None:
    """Polish the decoder of a trained pipeline's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--pictures", type=int, default=2_000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pipeline = StableDiffusionPipeline.from_pretrained(options.folder, local_files_only=True, dtype=torch.float32)
    polish(pipeline.vae, Budget(100_000, options.minutes), random.Random(0), pictures=options.pictures)
    save(pipeline, options.output)


if __name__ == "__main__":
    main()
