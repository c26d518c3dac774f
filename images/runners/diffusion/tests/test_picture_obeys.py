"""`diffusion-tiny` draws what it is asked for, also what it never saw in training; judged from pixels."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from auteur_diffusion import vocabulary as vocabulary_module
from training.drawing import Jitter, Scene, draw
from training.evaluate import held_out_grid, judge, obedience, seen

MODEL = Path(vocabulary_module.__file__).parent / "models" / "diffusion-tiny"
STANDARD_STEPS = 20
GUIDANCE = 2.0
LEAST_OBEDIENCE = 0.95


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(MODEL, local_files_only=True, dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_pictures_of_scenes_it_never_saw_show_what_was_asked(pipeline: StableDiffusionPipeline) -> None:
    sample = held_out_grid()[::4]

    verdicts = obedience(pipeline, sample, steps=STANDARD_STEPS, guidance=GUIDANCE)

    failures = [(scene, verdict) for scene, verdict in zip(sample, verdicts, strict=True) if not verdict.obeys]
    assert len(failures) <= (1 - LEAST_OBEDIENCE) * len(sample), failures


def test_same_seed_gives_the_same_picture(pipeline: StableDiffusionPipeline) -> None:
    def drawn(seed: int) -> bytes:
        noise = torch.Generator().manual_seed(seed)
        return pipeline("red star", num_inference_steps=4, guidance_scale=GUIDANCE, generator=noise).images[0].tobytes()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_what_is_left_unsaid_has_a_default(pipeline: StableDiffusionPipeline) -> None:
    noise = torch.Generator().manual_seed(1)

    pictures = pipeline(
        ["red star", "small white ring"], num_inference_steps=STANDARD_STEPS, guidance_scale=GUIDANCE, generator=noise
    ).images

    assert [seen(picture) for picture in pictures] == [
        Scene("large", "red", "star", "center", "white"),
        Scene("small", "white", "ring", "center", "black"),
    ]


def test_model_is_the_one_whose_digests_are_written_down() -> None:
    written = json.loads((MODEL / "digests.json").read_text(encoding="utf-8"))

    assert written == {path: hashlib.sha256((MODEL / path).read_bytes()).hexdigest() for path in written}
    assert {path.relative_to(MODEL).as_posix() for path in MODEL.rglob("*.safetensors")} <= set(written)


def test_the_judge_tells_every_held_out_drawing_apart() -> None:
    nudged = Jitter(x=0.02, y=-0.02, scale=0.95)

    assert all(judge(scene, draw(scene, 128, nudged)).obeys for scene in held_out_grid())


def test_the_judge_rejects_what_differs_in_one_part() -> None:
    asked = Scene("small", "red", "circle", "left", "white")

    for other in (
        Scene("large", "red", "circle", "left", "white"),
        Scene("small", "orange", "circle", "left", "white"),
        Scene("small", "red", "square", "left", "white"),
        Scene("small", "red", "circle", "center", "white"),
        Scene("small", "red", "circle", "left", "yellow"),
    ):
        verdict = judge(asked, draw(other, 128))
        assert not verdict.obeys
        assert [verdict.size, verdict.colour, verdict.shape, verdict.position, verdict.background].count(False) == 1
