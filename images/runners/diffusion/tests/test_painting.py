"""Pictures by random pipelines of two families: sizes, progress, seeds, cancel, previews, less memory."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from auteur_contracts.vocabulary import Reason
from auteur_diffusion.painter import Painter
from auteur_runner import Function, InvalidRequest, JobCancelled, OutOfMemory
from auteur_runner.testing import Result, cancel_after, run_function
from tests.conftest import image_to_image, text_to_image, tier_of

PARAMS = {"prompt": "a red circle", "width": 128, "height": 64, "steps": 6}
TIER = tier_of("random")


def draw(function: Function, inputs: dict[str, Path] | None = None, seed: int = 1, **params: object) -> Result:
    return run_function(function, PARAMS | params, inputs=inputs, seed=seed, tier=TIER)


def bytes_of(result: Result) -> bytes:
    return result.outputs["image"].read_bytes()


def test_a_prompt_becomes_a_picture_of_the_asked_size(painter: Painter) -> None:
    with Image.open(draw(text_to_image(painter)).outputs["image"]) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (128, 64))
        assert picture.text["auteur:seed"] == "1"


def test_a_picture_becomes_another_and_keeps_its_proportions(painter: Painter, cat: Path) -> None:
    result = draw(image_to_image(painter), {"image": cat}, width=128, height=128, strength=0.5)

    with Image.open(result.outputs["image"]) as picture:
        assert picture.size == (128, 64)
    assert {progress.steps for progress in result.progress if progress.phase == "denoise"} == {3}


def test_less_strength_keeps_more_of_the_picture(fresh_painter: Painter, cat: Path) -> None:
    def distance(strength: float) -> float:
        result = draw(image_to_image(fresh_painter), {"image": cat}, steps=10, strength=strength)
        with Image.open(result.outputs["image"]) as after, Image.open(cat) as before:
            pair = [torch.tensor(list(p.convert("L").resize((32, 16)).tobytes())).float() for p in (after, before)]
        return (pair[0] - pair[1]).abs().mean().item()

    assert distance(0.1) != distance(1.0)


def test_progress_goes_through_all_phases_to_the_end(painter: Painter) -> None:
    progress = draw(text_to_image(painter)).progress

    assert list(dict.fromkeys(each.phase for each in progress)) == ["encode", "denoise", "decode"]
    assert [each.fraction for each in progress] == sorted(each.fraction for each in progress)
    assert progress[-1].fraction == 1.0
    assert (6, 6) in [(each.step, each.steps) for each in progress if each.phase == "denoise"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(painter: Painter) -> None:
    function = text_to_image(painter)
    first, again, other = draw(function), draw(function), draw(function, seed=2)

    assert bytes_of(first) == bytes_of(again)
    assert bytes_of(first) != bytes_of(other)


def test_a_cancelled_run_stops_at_its_step_and_leaves_no_trace(painter: Painter, cat: Path) -> None:
    for function, inputs in ((text_to_image(painter), None), (image_to_image(painter), {"image": cat})):
        undisturbed = bytes_of(draw(function, inputs))

        with pytest.raises(JobCancelled):
            run_function(function, PARAMS, inputs=inputs, seed=9, tier=TIER, cancelled=cancel_after(6))

        assert bytes_of(draw(function, inputs)) == undisturbed


def test_cancel_is_noticed_within_one_step(painter: Painter) -> None:
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > 8

    with pytest.raises(JobCancelled):
        run_function(text_to_image(painter), PARAMS | {"steps": 500}, tier=TIER, cancelled=cancelled)

    assert calls <= 10


def test_previews_show_unfinished_pictures_and_change_nothing(painter: Painter) -> None:
    function = text_to_image(painter)
    with_previews = draw(function)
    painter._shows_previews = False
    without = draw(function)
    painter._shows_previews = True

    assert len(with_previews.previews) >= 1
    assert without.previews == ()
    assert bytes_of(with_previews) == bytes_of(without)


def test_a_preview_that_fails_does_not_fail_the_job(fresh_painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a decoder's trouble")

    monkeypatch.setattr(fresh_painter._previewer, "picture", broken)

    result = draw(text_to_image(fresh_painter))

    assert result.previews == ()
    assert "a decoder's trouble" in result.log[0]


class RunsOutOfMemory:
    """A denoiser's hook that has no room the first `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            raise torch.OutOfMemoryError("no room")


def test_out_of_memory_is_answered_by_one_step_down(fresh_painter: Painter) -> None:
    function = text_to_image(fresh_painter)
    undisturbed = bytes_of(draw(function))
    fresh_painter._text_to_image.unet.register_forward_pre_hook(RunsOutOfMemory(times=1))

    result = draw(function)

    assert bytes_of(result) == undisturbed
    assert fresh_painter.rung.name == "cpu-tiled"
    assert result.metrics == {"memory_steps_down": 1}
    assert result.warnings == ('Memory ran out on the plan "cpu"; drawn again on the tighter "cpu-tiled".',)
    assert "loading model" in [progress.phase for progress in result.progress]
    assert draw(function).warnings == ()


def test_out_of_memory_twice_is_the_attempts_end(fresh_painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_on = fresh_painter._stand_on

    def stand_and_run_out(rung: object) -> None:
        stand_on(rung)
        fresh_painter._text_to_image.unet.register_forward_pre_hook(RunsOutOfMemory(times=9))

    monkeypatch.setattr(fresh_painter, "_stand_on", stand_and_run_out)
    fresh_painter._text_to_image.unet.register_forward_pre_hook(RunsOutOfMemory(times=1))

    with pytest.raises(OutOfMemory, match="no room"):
        draw(text_to_image(fresh_painter))


def test_a_strength_that_leaves_no_step_is_refused(painter: Painter, cat: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"leaves none to run: use at least 0\.167") as refused:
        draw(image_to_image(painter), {"image": cat}, strength=0.1)

    assert refused.value.message.startswith("strength: ")


def test_a_file_that_is_no_picture_is_refused(painter: Painter, tmp_path: Path) -> None:
    text = tmp_path / "cat.png"
    text.write_text("not a picture")

    with pytest.raises(InvalidRequest, match=r"cat\.png cannot be read as a picture") as refused:
        draw(image_to_image(painter), {"image": text})

    assert refused.value.reason is Reason.INVALID_INPUT


def test_a_pipeline_without_step_callbacks_has_progress_and_cancel_too(fresh_painter: Painter) -> None:
    """A fifth of diffusers' pipelines know no `callback_on_step_end`: nothing here depends on it."""
    function = text_to_image(fresh_painter)
    original = type(fresh_painter._text_to_image).__call__

    class Plain(type(fresh_painter._text_to_image)):
        def __call__(self, prompt, width, height, num_inference_steps, generator):  # noqa: ANN001, ANN204
            return original(
                self, prompt, width=width, height=height, num_inference_steps=num_inference_steps, generator=generator
            )

    fresh_painter._text_to_image.__class__ = Plain

    assert draw(function).progress[-1].fraction == 1.0
    with pytest.raises(JobCancelled):
        run_function(function, PARAMS, tier=TIER, cancelled=cancel_after(6))
