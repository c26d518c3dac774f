"""What an author's own tests use, on functions of every kind; what `save` and `preview` make of their content."""

import io
from pathlib import Path
from typing import Annotated, Any

import pytest
from PIL import Image

from auteur_runner import (
    Context,
    Function,
    InvalidRequest,
    JobCancelled,
    Media,
    MediaType,
    OutOfMemory,
    PlatformError,
    SetupContext,
)
from auteur_runner.saving import PREVIEW_BYTES, preview_jpeg
from auteur_runner.testing import RunFailed, cancel_after, run_function
from tests.support.echo import Echo


class Paint(Function):
    name = "paint"

    class Output(Function.Output):
        picture: Annotated[Media, MediaType("image/png")]
        more: tuple[Annotated[Media, MediaType("image/*")], ...] = ()

    def setup(self, ctx: SetupContext) -> None:
        with ctx.phase("loading model"):
            self.colour = "green"

    def run(self, params: Function.Params, ctx: Context) -> Output:
        picture = Image.new("RGBA", (40, 30), self.colour)
        picture.putpixel((ctx.rng().randrange(40), 0), (255, 0, 0, 255))
        with ctx.phase("paint", steps=2) as step:
            ctx.preview(picture)
            assert not ctx.preview_due()
            ctx.preview(picture)
            step("half")
            step()
        ctx.warning("no brush")
        ctx.warning("no brush")
        ctx.log("painted")
        ctx.metric("strokes", 2)
        more = (ctx.save(picture, "a.jpg"), ctx.save(_gif(), "b.gif"))
        return self.Output(picture=ctx.save(picture, "picture.png"), more=more)


def _gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("P", (5, 6)).save(buffer, "GIF")
    return buffer.getvalue()


def test_everything_a_run_says_is_there() -> None:
    result = run_function(Paint, seed=1)
    assert [path.name for path in result.files] == ["picture.png", "a.jpg", "b.gif"]
    told = [(each.phase, each.step) for each in result.progress]
    assert told[:2] == [("loading model", None), ("paint", 0)]
    assert told[-1] == ("paint", 2)
    assert (result.warnings, result.log, result.metrics) == (("no brush",), ("painted",), {"strokes": 2})
    assert len(result.previews) == 1
    assert result.previews[0].read_bytes().startswith(b"\xff\xd8\xff")


def test_the_seed_decides_the_bytes() -> None:
    first, again, other = (run_function(Paint, seed=seed).outputs["picture"].read_bytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_picture_carries_what_it_was_made_from() -> None:
    result = run_function(Paint, seed=1)
    about = _info(result.outputs["picture"])
    assert about["auteur:function"] == "paint"
    assert about["auteur:params"].startswith("sha256:")
    assert b'"auteur:seed": "1"' in _info(result.files[1])["comment"]


def _info(path: Path) -> dict[str, Any]:
    with Image.open(path) as picture:
        return {str(key): value for key, value in picture.info.items()}


def test_inputs_and_params_are_checked_as_on_the_platform(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match='did you mean "steps"'):
        run_function(Echo, {"step": 1})
    with pytest.raises(InvalidRequest, match='there is no input "image"; it has none'):
        run_function(Echo, {}, inputs={"image": tmp_path / "a.png"})


@pytest.mark.parametrize(
    ("how", "raised"),
    [("user", InvalidRequest), ("function", RunFailed), ("platform", PlatformError), ("oom", OutOfMemory)],
)
def test_a_failure_is_raised_as_what_it_is(how: str, raised: type[Exception]) -> None:
    with pytest.raises(raised, match="asked to fail"):
        run_function(Echo, {"fail": how})


@pytest.mark.parametrize("looks", [0, 1, 2, 3])
def test_a_cancel_can_come_at_any_look(looks: int) -> None:
    with pytest.raises(JobCancelled):
        run_function(Echo, {"steps": 5}, cancelled=cancel_after(looks))


class Broken(Function):
    name = "broken"

    class Output(Function.Output):
        text: Media

    def run(self, params: Function.Params, ctx: Context) -> Output:
        ctx.log("half a character: \udce4")
        ctx.warning("\udce4")
        ctx.preview(b"not a picture")
        with ctx.phase("\udce4" * 100):
            return self.Output(text=ctx.save(b"", "a.txt"))


def test_texts_that_cannot_be_encoded_and_pictures_that_are_none_do_not_fail_a_run() -> None:
    result = run_function(Broken)
    assert result.log[0] == "half a character: ?"
    assert result.log[1].startswith("preview dropped: UnidentifiedImageError")
    assert result.warnings == ("?",)
    assert result.progress[0].phase == "?" * 64


class Odd(Function):
    name = "odd"

    class Params(Function.Params):
        how: str

    class Output(Function.Output):
        text: Media

    def run(self, params: Params, ctx: Context) -> object:
        match params.how:
            case "nothing":
                return None
            case "a slash":
                return ctx.save(b"", "../x.txt")
            case "the agent's file":
                return ctx.save(b"", "result.json")
            case "an unknown kind":
                return ctx.save(3.5, "x.txt")
            case "a file elsewhere":
                return self.Output(text=Media(Path(__file__)))
            case "the name of a preview":
                return self.Output(text=ctx.save(b"", ".preview-1.jpg"))
            case "twice":
                with ctx.phase("a"), ctx.phase("b"):
                    pass
            case "not a file":
                return self.Output(text="x.txt")
        raise AssertionError(params.how)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("nothing", r"Odd.run returned nothing; it must return Odd.Output \(test_testing.py, line"),
        ("a slash", "'../x.txt' cannot be an output's name"),
        ("the agent's file", "'result.json' cannot be an output's name"),
        ("the name of a preview", "'.preview-1.jpg' cannot be an output's name"),
        ("an unknown kind", r"ctx.save\(\) cannot write a float"),
        ("a file elsewhere", r"Odd.Output.text is .*test_testing.py, not a file in the attempt's folder"),
        ("twice", 'phase "b" was opened inside "a"'),
        ("not a file", r"Input should be an instance of Media.*\(test_testing.py, line"),
    ],
)
def test_an_authors_mistake_is_a_sentence(how: str, sentence: str) -> None:
    with pytest.raises(RunFailed, match=f"(?s){sentence}"):
        run_function(Odd, {"how": how})


class Many(Function):
    name = "many"

    class Params(Function.Params):
        names: tuple[str, ...]

    class Output(Function.Output):
        files: tuple[Media, ...]

    def run(self, params: Params, ctx: Context) -> Output:
        files = tuple(ctx.folder / name for name in params.names)
        for file in files:
            file.touch()
        return self.Output(files=tuple(Media(file) for file in files))


def test_a_job_holds_so_many_outputs_and_the_run_that_made_more_is_told_before_anything_is_stored() -> None:
    names = [f"{number}.txt" for number in range(257)]
    assert len(run_function(Many, {"names": names[1:]}).files) == 256
    with pytest.raises(RunFailed, match=r"Many.run made 257 outputs; a job holds 256 \(test_testing.py, line"):
        run_function(Many, {"names": names})


def test_the_agents_own_names_are_not_an_authors() -> None:
    with pytest.raises(
        RunFailed, match=r'Many.Output.files is called "result.json"; an output\'s name .* the platform\'s'
    ):
        run_function(Many, {"names": ["a.txt", "result.json"]})
    with pytest.raises(RunFailed, match=r'Many.Output.files is called "\.preview-1\.jpg"; an .* begins with no dot'):
        run_function(Many, {"names": [".preview-1.jpg"]})


def test_a_preview_always_fits_and_keeps_its_shape() -> None:
    noise = Image.effect_noise((2000, 1000), 200).convert("RGBA")
    jpeg = preview_jpeg(noise)
    assert jpeg is not None
    assert len(jpeg) <= PREVIEW_BYTES
    assert Image.open(io.BytesIO(jpeg)).size == (512, 256)
