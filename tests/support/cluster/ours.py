"""The images of this checkout by their names, for rigs: as `scripts/build-images` builds them, on bases made here."""

import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.cluster.images import Image, ImageStore

CHECKOUT = Path(__file__).parents[3]
VERSION: str = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
RUNNER_ECHO = "runner-echo"
"""A runner without torch, for tests: tests/support/echo."""


@dataclass(frozen=True)
class Recipe:
    """What an image is built from."""

    dockerfile: Path
    arguments: dict[str, str]


@cache
def recipes(checkout: Path = CHECKOUT) -> dict[str, Recipe]:
    """By name: `gateway`, `runner-diffusion`."""
    program = (checkout / "scripts" / "build-images", "--list")
    listed = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in listed.splitlines()]
    found = {name: Recipe(checkout / file, dict(each.split("=", 1) for each in told)) for name, file, *told in lines}
    echo = {"FOLDER": "tests/support/echo", "RUNNER": "echo"}
    return {**found, RUNNER_ECHO: Recipe(checkout / "images" / "runners" / "Dockerfile", echo)}


def build(images: ImageStore, name: str) -> Image:
    """Minutes the first time, for a runner with torch; seconds after a change of our code; nothing after none."""
    recipe = recipes()[name]
    bases = {"BASE_IMAGE": images.base("postgres").id} if name == "postgres" else images.bases()
    return images.build(f"auteur-{name}", CHECKOUT, dockerfile=recipe.dockerfile, build_args=bases | recipe.arguments)


def named(images: ImageStore, names: Iterable[str]) -> None:
    """Builds them, and gives them the names by which compose.yaml knows them."""
    for name in names:
        images.tag(build(images, name), f"localhost/auteur-{name}:{VERSION}")
