"""What the SDK costs a model: pairs of equal work by the bare pipeline and through a Function, in one process.

Needs the diffusion runner's environment and goes there by itself. Previews are off: they are pictures of their own.
"""

import argparse
import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.table import Figure, show

ROOT = Path(__file__).parents[2]
RUNNER_PYTHON = ROOT / ".auteur/envs/diffusion/bin/python"
PROMPT = "a large red star on a blue background"
SIDE, MOST_STEPS = 128, 500
GOAL_PERCENT = 2.0


@dataclass(frozen=True)
class Took:
    wall: float
    cpu: float
    """Of this process only: what other programs do to the machine shows less in it."""

    def percent_over(self, bare: "Took") -> tuple[float, float]:
        return 100 * (self.wall / bare.wall - 1), 100 * (self.cpu / bare.cpu - 1)


def timed(work: Callable[[], None], times: int) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def bare_run(painter: Any, steps: int) -> Callable[[], None]:
    """The same pipeline object, called as its documentation says."""
    import torch

    pipeline = painter._text_to_image

    def work() -> None:
        noise = torch.Generator("cpu").manual_seed(7)
        pipeline(
            prompt=PROMPT,
            width=SIDE,
            height=SIDE,
            num_inference_steps=steps,
            guidance_scale=2.0,
            generator=noise,
        )

    return work


def sdk_run(painter: Any, steps: int, folder: Path) -> Callable[[], None]:
    """As a worker's child does it: parameters checked, progress encoded and written away, a PNG saved."""
    from auteur_diffusion.tiny import TinyTextToImage, tiny
    from auteur_runner import protocol
    from auteur_runner.execute import execute

    function = TinyTextToImage()
    function.shared = painter
    order = protocol.Run(
        function=function.name,
        params={"prompt": PROMPT, "steps": steps},
        seed=7,
        tier=tiny.tiers[1].planned,
        folder=str(folder),
        uid="bench",
        attempt=1,
    )
    nowhere = os.open(os.devnull, os.O_WRONLY)

    def told(message: protocol.Up) -> None:
        os.write(nowhere, protocol.encode(message))

    def work() -> None:
        ending = execute(function, order, told, lambda: False)
        assert isinstance(ending, protocol.Succeeded), ending

    return work


def steps_for(painter: Any, seconds: float) -> tuple[int, int]:
    """Steps a picture and pictures a sample, so that a sample takes `seconds` of CPU, and so of time."""
    bare_run(painter, 5)()  # the first run pays for what is made once
    a_step = timed(bare_run(painter, 40), times=1).cpu / 40
    steps = min(MOST_STEPS, math.ceil(seconds * 1.15 / a_step))
    return steps, math.ceil(seconds * 1.15 / (steps * a_step))


def measure(pairs: int, seconds: float) -> tuple[list[tuple[Took, Took]], int, int]:
    """Bare and SDK samples side by side; which goes first alternates, so that a drift hits both."""
    from auteur_diffusion.painter import Painter
    from auteur_diffusion.settings import Settings
    from auteur_diffusion.tiny import tiny

    painter = Painter.load(tiny.tiers[1].planned, Settings(previews=False))
    steps, pictures = steps_for(painter, seconds)
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        bare, sdk = bare_run(painter, steps), sdk_run(painter, steps, Path(folder))
        for number in range(pairs):
            works = (bare, sdk) if number % 2 == 0 else (sdk, bare)
            took = [timed(work, pictures) for work in works]
            samples.append((took[0], took[1]) if number % 2 == 0 else (took[1], took[0]))
    return samples, steps, pictures


def main(pairs: int, seconds: float) -> None:
    samples, steps, pictures = measure(pairs, seconds)
    over = [sdk.percent_over(bare) for bare, sdk in samples]
    note = f"{pairs} alternating pairs; a sample is {pictures} × {steps} steps"
    show(
        "SDK over the bare pipeline, previews off",
        [
            Figure("wall time, median", median(wall for wall, _ in over), "%", GOAL_PERCENT, note=note),
            Figure("CPU time, median", median(cpu for _, cpu in over), "%"),
            Figure("shortest sample", min(took.wall for pair in samples for took in pair), "s"),
        ],
    )


def in_runner_environment() -> int | None:
    """Where torch is missing the same command is run by the runner's Python; None where it is here."""
    if importlib.util.find_spec("torch") is not None:
        return None
    if not RUNNER_PYTHON.is_file():
        sys.stderr.write("error: the runner diffusion is not installed; install it with: make dev\n")
        return 2
    command = [str(RUNNER_PYTHON), "-m", "tests.bench.bench_sdk_overhead", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0, help="least length of each of a pair's two samples")
    asked = parser.parse_args()
    status = in_runner_environment()
    if status is None:
        main(asked.pairs, asked.seconds)
    sys.exit(status)
