"""What the runners serve: text-to-image and image-to-image, with the parameters that all models share.

A runner subclasses them to say its model's sizes and words. No torch here: the work is the painter's.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar

from auteur_diffusion.asking import Ask, Start, chosen_subject, unknown_words, worded
from auteur_diffusion.pictures import starting_picture
from auteur_runner import Context, Field, Function, Input, Media, MediaType

if TYPE_CHECKING:
    from auteur_diffusion.painter import Painter

Png = Annotated[Media, MediaType("image/png")]
AnyImage = Annotated[Input, MediaType("image/*")]
LARGEST_SEED = 2**32 - 1


class PictureParams(Function.Params):
    """What both functions take. A model's own ranges of width and height are in its subclass."""

    prompt: str = Field(min_length=1, max_length=10_000, description="What the picture shows.")
    negative_prompt: str = Field("", max_length=10_000, description="What it should not show.")
    width: int = Field(1024, ge=64, le=4096, multiple_of=8, description="Pixels.")
    height: int = Field(1024, ge=64, le=4096, multiple_of=8, description="Pixels.")
    steps: int = Field(20, ge=1, le=500, description="Denoising steps: more is slower and finer.")
    guidance_scale: float = Field(3.5, ge=0, le=30, description="How closely the prompt is followed.")
    seed: int | None = Field(None, ge=0, le=LARGEST_SEED, description="The same seed gives the same picture.")


class PictureFunction(Function):
    """What both functions are: an ask for the process's one painter."""

    class Output(Function.Output):
        image: Png

    shared: "Painter"
    draws: ClassVar[str] = ""
    """What the model can draw, told to those who used words it does not know."""
    size_multiple: ClassVar[int] = 8

    def _paint(self, params: PictureParams, ctx: Context, start: Start | None = None) -> Output:
        seed = ctx.seed if params.seed is None else params.seed
        subject_seed = seed if start is None else None
        wording = worded(params.prompt, params.negative_prompt, self.shared.vocabulary, subject_seed=subject_seed)
        if wording.unknown:
            ctx.warning(unknown_words(ctx.tier.pipeline, wording.unknown, self.draws))
        if wording.added:
            ctx.warning(chosen_subject(ctx.tier.pipeline, wording.added))
        width, height = start.picture.size if start else (params.width, params.height)
        ask = Ask(
            prompt=wording.prompt,
            negative_prompt=wording.negative_prompt,
            width=width,
            height=height,
            steps=params.steps,
            guidance_scale=params.guidance_scale,
            seed=seed,
            start=start,
        )
        return self.Output(image=ctx.save(self.shared.paint(ask, ctx), "image.png"))


class TextToImage(PictureFunction):
    """A picture from a description."""

    name = "text-to-image"
    example = {"prompt": "a large red star on a blue background", "seed": 7}  # noqa: RUF012 -- as authors write it

    class Params(PictureParams):
        pass

    def run(self, params: Params, ctx: Context) -> PictureFunction.Output:
        return self._paint(params, ctx)


class ImageToImage(PictureFunction):
    """A picture from another picture and a description."""

    name = "image-to-image"
    example = {"prompt": "a large green star on a white background"}  # noqa: RUF012 -- as above

    class Params(PictureParams):
        strength: float = Field(0.8, gt=0, le=1, description="How much may change: 1 keeps nothing of the picture.")

    class Inputs(Function.Inputs):
        image: AnyImage
        """The picture to start from. It is scaled to fit into width × height and keeps its proportions."""

    def run(self, params: Params, inputs: Inputs, ctx: Context) -> PictureFunction.Output:
        picture = starting_picture(inputs.image.path, (params.width, params.height), self.size_multiple)
        return self._paint(params, ctx, Start(picture, params.strength))
