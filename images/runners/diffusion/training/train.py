"""Train `diffusion-tiny` from nothing: an autoencoder on drawn pictures, then text encoder and denoiser on its latents.

The result is a folder in the layout of diffusers' StableDiffusionPipeline. Two CPU cores are enough.
"""

import argparse
import logging
import random
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from training.autoencoder import new_autoencoder, train_autoencoder
from training.denoiser import new_pipeline, train_denoiser
from training.fitting import THREADS, Budget
from training.folder import save


def main() -> None:
    """Train both parts, or go on with the denoiser of a folder that was left half trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the pipeline's folder, written anew every 500 steps")
    parser.add_argument("--continue", dest="going_on", action="store_true", help="start from what is in the folder")
    parser.add_argument("--autoencoder-minutes", type=float, default=14)
    parser.add_argument("--denoiser-minutes", type=float, default=70)
    parser.add_argument("--steps", type=int, default=100_000, help="end each part after this many steps at the latest")
    parser.add_argument("--pictures", type=int, default=24_000, help="how many to draw for the denoiser")
    parser.add_argument("--rate", type=float, default=1e-3, help="the denoiser's peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="prove that it runs: a minute, nothing recognisable")
    options = parser.parse_args()
    if options.smoke:
        options.steps, options.pictures = 10, 64
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    torch.manual_seed(options.seed)
    torch.set_num_threads(THREADS)
    rng = random.Random(options.seed)

    if not options.going_on:
        autoencoder = new_autoencoder()
        train_autoencoder(autoencoder, Budget(options.steps, options.autoencoder_minutes), rng)
        save(new_pipeline(autoencoder), options.output)
    pipeline = StableDiffusionPipeline.from_pretrained(options.output, local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    budget = Budget(options.steps, options.denoiser_minutes)
    train_denoiser(pipeline, budget, rng, rate=options.rate, pictures=options.pictures, output=options.output)


if __name__ == "__main__":
    main()
