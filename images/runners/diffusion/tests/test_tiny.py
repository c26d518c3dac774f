"""`diffusion-tiny` as it is shipped: small, whole, ready everywhere, and frank about what it cannot read."""

import asyncio
import sys
from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image

from auteur_diffusion import sources
from auteur_diffusion.flux import flux
from auteur_diffusion.painter import Painter
from auteur_diffusion.settings import Settings
from auteur_diffusion.tiny import NAME, NATIVE_SIDE, TinyImageToImage, TinyTextToImage, tiny
from auteur_runner import Tier, protocol
from auteur_runner.process import Launch, SetupFailed
from auteur_runner.testing import run_function
from auteur_runner.worker import Worker
from training.evaluate import seen

FOLDER = sources.SHIPPED / NAME
STANDARD = tiny.tiers[1].planned
STAR = {"prompt": "a large red star on a blue background"}


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter.load(STANDARD, Settings())


@pytest.fixture
def function(painter: Painter) -> TinyTextToImage:
    made = TinyTextToImage()
    made.shared = painter
    return made


def test_it_ships_whole_and_small() -> None:
    sources.check(FOLDER)

    assert (FOLDER / sources.DIGESTS).is_file()
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.safetensors")) <= 10_000_000
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, local_files_only=True)
    assert pipeline.unet.config.sample_size * pipeline.vae_scale_factor == NATIVE_SIDE


def test_a_known_prompt_is_drawn_without_a_word(function: TinyTextToImage) -> None:
    result = run_function(function, STAR, seed=7, tier=STANDARD)

    assert result.warnings == ()
    with Image.open(result.outputs["image"]) as picture:
        assert picture.size == (NATIVE_SIDE, NATIVE_SIDE)


def test_unknown_words_come_back_as_a_warning_beside_the_picture(function: TinyTextToImage) -> None:
    result = run_function(function, {"prompt": "misty cyberpunk alley"}, seed=7, tier=STANDARD)

    assert result.outputs["image"].is_file()
    assert result.warnings[0].startswith(
        'diffusion-tiny does not know: "misty", "cyberpunk", "alley". It draws one small or large circle'
    )
    assert result.warnings[1:] == (
        "The prompt says nothing that diffusion-tiny can draw, so it chose one by the seed: square.",
    )
    with Image.open(result.outputs["image"]) as picture:
        found = seen(picture)
    assert found is not None
    assert found.shape == "square"


def test_the_same_words_in_other_clothes_are_the_same_picture(function: TinyTextToImage) -> None:
    shouted = run_function(function, {"prompt": "LARGE, RED STARS on blue background!"}, seed=7, tier=STANDARD)
    said = run_function(function, STAR, seed=7, tier=STANDARD)

    with Image.open(shouted.files[0]) as one, Image.open(said.files[0]) as other:
        assert one.tobytes() == other.tobytes()


def test_it_draws_over_a_picture(painter: Painter, cat: Path) -> None:
    function = TinyImageToImage()
    function.shared = painter

    result = run_function(function, STAR, inputs={"image": cat}, seed=7, tier=STANDARD)

    with Image.open(result.outputs["image"]) as picture:
        assert picture.size == (128, 64)


async def played(target: str, order: protocol.Run) -> list[protocol.Event | protocol.Ending]:
    """What a worker's child says of one order, model loading included."""
    worker = Worker(Launch(sys.executable, target, Path.cwd()), on_log=lambda _: None)
    try:
        return [event async for event in worker.run(order)]
    finally:
        await worker.close()


def order(tier: Tier, folder: Path, **params: object) -> protocol.Run:
    return protocol.Run(
        function="text-to-image", params=STAR | params, seed=7, tier=tier, folder=str(folder), uid="u-1", attempt=1
    )


def test_a_worker_of_its_own_draws_the_same_bytes(function: TinyTextToImage, tmp_path: Path) -> None:
    events = asyncio.run(played("auteur_diffusion:tiny", order(STANDARD, tmp_path)))

    phases = [event.progress.phase for event in events if isinstance(event, protocol.Progressed)]
    assert list(dict.fromkeys(phases)) == ["loading model", "encode", "denoise", "decode"]
    ending = events[-1]
    assert isinstance(ending, protocol.Succeeded)
    drawn_here = run_function(function, STAR, seed=7, tier=STANDARD).files[0]
    assert Path(ending.outputs[0].file).read_bytes() == drawn_here.read_bytes()


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a card")
def test_the_large_models_runner_says_at_once_that_there_is_no_card(tmp_path: Path) -> None:
    async def setup() -> None:
        worker = Worker(Launch(sys.executable, "auteur_diffusion:flux", tmp_path), on_log=lambda _: None)
        try:
            async for _ in worker.prepare(flux.tiers[1].planned):
                pass
        finally:
            await worker.close()

    with pytest.raises(SetupFailed) as failed:
        asyncio.run(setup())

    message = "This tier needs a CUDA card with 16 GB of memory; this machine has none."
    assert failed.value.failure.message == message
