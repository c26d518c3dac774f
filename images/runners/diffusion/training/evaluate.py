"""Does a picture show what was asked? Judged from its pixels alone, against drawings of every scene it could be.

The functions are pure; the command line prints a score table over the whole held-out grid.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.drawing import CENTRE, PALETTE, RADIUS, SHAPES, Jitter, Scene, caption, draw, every_scene

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

Mask: TypeAlias = npt.NDArray[np.bool_]

_SIDE = 64
"""Pictures are judged at this many pixels a side, whatever their own size."""
_LEAST_OVERLAP = 0.75
"""Intersection over union below which a blot is no shape at all."""
UNCLEAR = "unclear"
_NAMES = tuple(PALETTE)
_COLOURS = np.array(list(PALETTE.values()), dtype=np.int32)


@dataclass(frozen=True)
class Verdict:
    """Which parts of the scene a picture got right."""

    colour: bool
    shape: bool
    size: bool
    position: bool
    background: bool

    @property
    def obeys(self) -> bool:
        """All of it, jointly."""
        return all(astuple(self))


def seen(picture: Image.Image) -> Scene | None:
    """The scene a picture shows, its shape perhaps `UNCLEAR`; None where there is nothing but background."""
    distances = _distances(picture)
    nearest = distances.argmin(axis=-1)
    background = _most_common(np.concatenate([nearest[0], nearest[-1], nearest[:, 0], nearest[:, -1]]))
    rest = nearest[nearest != background]
    if rest.size < 0.01 * nearest.size:
        return None
    colour = _most_common(rest)
    # Of these two only: the blend on an edge may well be nearest to a third colour.
    shape, size, position, overlap = _best_fit(distances[:, :, colour] < distances[:, :, background])
    return Scene(size, _NAMES[colour], shape if overlap >= _LEAST_OVERLAP else UNCLEAR, position, _NAMES[background])


def judge(asked: Scene, picture: Image.Image) -> Verdict:
    """Compare what was asked with what is seen."""
    found = seen(picture)
    return Verdict(
        **{f.name: found is not None and getattr(found, f.name) == getattr(asked, f.name) for f in fields(Verdict)}
    )


def _distances(picture: Image.Image) -> npt.NDArray[np.int32]:
    """(side, side, colours): the square of how far each pixel is from each colour of the palette."""
    pixels = np.asarray(picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.int32)
    return ((pixels[:, :, None] - _COLOURS) ** 2).sum(-1, dtype=np.int32)


def _most_common(indices: npt.NDArray[np.intp]) -> int:
    return int(np.bincount(indices.ravel(), minlength=len(_NAMES)).argmax())


def _best_fit(mask: Mask) -> tuple[str, str, str, float]:
    """Shape, size, position and overlap of the drawing that covers the mask best."""
    kinds, drawings, areas = _drawings()
    flat = mask.ravel().astype(np.float32)
    common = drawings @ flat
    overlaps = common / (areas + flat.sum() - common)
    best = int(overlaps.argmax())
    return *kinds[best], float(overlaps[best])


@functools.cache
def _drawings() -> tuple[list[tuple[str, str, str]], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Every shape, size and position, each a little moved and scaled: kinds, (n, side * side) masks, (n,) areas."""
    kinds, masks = [], []
    nudges = (-0.02, -0.01, 0.0, 0.01, 0.02)
    for shape, size, position in itertools.product(SHAPES, RADIUS, CENTRE):
        for x, y, scale in itertools.product(nudges, nudges, (0.95, 1.0, 1.05)):
            drawing = draw(Scene(size, "black", shape, position, "white"), _SIDE, Jitter(x, y, scale))
            kinds.append((shape, size, position))
            masks.append(np.asarray(drawing.convert("L")).ravel() < 128)
    drawings = np.array(masks, dtype=np.float32)
    return kinds, drawings, drawings.sum(axis=1)


def held_out_grid() -> list[Scene]:
    """Every scene that training never saw."""
    return [scene for scene in every_scene() if scene.held_out]


def obedience(
    pipeline: "StableDiffusionPipeline", scenes: Sequence[Scene], *, steps: int, guidance: float, batch: int = 32
) -> list[Verdict]:
    """Ask for each scene in one of its many wordings, and judge the pictures."""
    import torch  # noqa: PLC0415 - judging alone needs no torch

    rng, noise = Random(7), torch.Generator().manual_seed(7)
    verdicts = []
    for start in range(0, len(scenes), batch):
        asked = scenes[start : start + batch]
        prompts = [caption(scene, rng, complete=True) for scene in asked]
        drawn = pipeline(prompts, num_inference_steps=steps, guidance_scale=guidance, generator=noise).images
        verdicts += [judge(scene, picture) for scene, picture in zip(asked, drawn, strict=True)]
    return verdicts


def table_row(verdicts: Iterable[Verdict]) -> str:
    """Shares in percent: each part, then all jointly."""
    rows = np.array([(*astuple(verdict), verdict.obeys) for verdict in verdicts], dtype=float)
    names = (*(f.name for f in fields(Verdict)), "jointly")
    return "  ".join(f"{name} {share:5.1f}" for name, share in zip(names, 100 * rows.mean(axis=0), strict=True))


def main() -> None:
    """Print one line per number of steps and guidance scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a folder that diffusers can load")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 30])
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.0])
    parser.add_argument("--every", type=int, default=1, help="judge each n-th scene of the held-out grid")
    options = parser.parse_args()

    import torch  # noqa: PLC0415
    from diffusers import StableDiffusionPipeline  # noqa: PLC0415 - seconds to import

    pipeline = StableDiffusionPipeline.from_pretrained(options.model, local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    scenes = held_out_grid()[:: options.every]
    for steps, guidance in itertools.product(options.steps, options.guidance):
        began = time.perf_counter()
        row = table_row(obedience(pipeline, scenes, steps=steps, guidance=guidance))
        seconds = (time.perf_counter() - began) / len(scenes)
        print(f"{len(scenes)} scenes  {steps:2} steps  guidance {guidance:.1f}  {row}  {seconds:.3f} s each")


if __name__ == "__main__":
    main()
