"""Folders of random pipelines, made once, and painters on them, set up as a worker sets them up."""

import os
from pathlib import Path

import pytest
from PIL import Image

# Both are read when the libraries are imported below.
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a network
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the runner itself does, see `loading`

from auteur_diffusion.functions import ImageToImage, TextToImage
from auteur_diffusion.painter import Painter
from auteur_diffusion.settings import Settings
from auteur_runner import Quality, Tier
from tests import folders


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pipeline id → folder."""
    root = tmp_path_factory.mktemp("models")
    return {"random-sd": folders.stable_diffusion(root / "sd"), "random-flux": folders.flux(root / "flux")}


@pytest.fixture(scope="session")
def settings(models: dict[str, Path]) -> Settings:
    return Settings({pipeline: str(folder) for pipeline, folder in models.items()})


@pytest.fixture(scope="session", params=["random-sd", "random-flux"])
def painter(request: pytest.FixtureRequest, settings: Settings) -> Painter:
    return Painter.load(tier_of(request.param), settings)


@pytest.fixture
def fresh_painter(settings: Settings) -> Painter:
    """One that a test may bend."""
    return Painter.load(tier_of("random-sd"), settings)


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    """A picture that is twice as wide as high."""
    path = tmp_path / "cat.png"
    picture = Image.new("RGB", (200, 100), "orange")
    picture.paste("black", (50, 25, 80, 60))
    picture.save(path)
    return path


def tier_of(pipeline: str, **fields: object) -> Tier:
    return Tier.model_validate({"quality": Quality.STANDARD, "pipeline": pipeline, "threads": 1, **fields})


def text_to_image(painter: Painter) -> TextToImage:
    function = TextToImage()
    function.shared = painter
    return function


def image_to_image(painter: Painter) -> ImageToImage:
    function = ImageToImage()
    function.shared = painter
    return function
