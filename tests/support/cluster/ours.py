"""The images of this checkout by their names, for rigs: as `scripts/build-images` builds them, on bases made here."""

import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.support.cluster.images import Image, ImageStore

CHECKOUT = Path(__file__).parents[3]
VERSION: str = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
RUNNER_ECHO = "runner-echo"
"""A runner without torch, for tests: see tests/data/runner-echo."""


def dockerfiles() -> dict[str, Path]:
    """By name: `gateway`, `runner-diffusion`."""
    listed = subprocess.run(
        (CHECKOUT / "scripts" / "build-images", "--list"), check=True, capture_output=True, text=True
    ).stdout
    found = dict(line.split(" ", 1) for line in listed.splitlines())
    return {
        **{name: CHECKOUT / file for name, file in found.items()},
        RUNNER_ECHO: CHECKOUT / "tests" / "data" / RUNNER_ECHO / "Dockerfile",
    }


def build(images: ImageStore, name: str) -> Image:
    """Minutes the first time, for a runner with torch; seconds after a change of our code; nothing after none."""
    arguments = {"BASE_IMAGE": images.base("postgres").id} if name == "postgres" else None
    return images.build(f"auteur-{name}", CHECKOUT, dockerfile=dockerfiles()[name], build_args=arguments)


def named(images: ImageStore, names: Iterable[str]) -> None:
    """Builds them, and gives them the names by which compose.yaml knows them."""
    for name in names:
        images.tag(build(images, name), f"localhost/auteur-{name}:{VERSION}")
