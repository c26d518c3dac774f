"""The runner `diffusion-tiny`: a model of our own, a few megabytes in this package, that draws on any CPU."""

from auteur_diffusion.functions import ImageToImage, PictureParams, TextToImage
from auteur_diffusion.loading import load
from auteur_runner import Field, Quality, Resources, Runner, TierDeclaration

NAME = "diffusion-tiny"
NATIVE_SIDE = 128
"""Pixels. Other sizes are drawn too, with repeated or stretched shapes: the model never saw them."""
THREADS = 1
"""Part of what makes bytes repeatable: sums of floats depend on how many threads share them. One: the model is
too small to share (0.3 s a picture either way), and on a busy machine two threads waiting for each other take seconds.
"""

DRAWS = (
    "It draws one small or large circle, square, triangle, ring, cross or star in one of eight colours, "
    'as in "a large red star at the left on a blue background".'
)


class TinyParams(PictureParams):
    # The autoencoder makes an eighth of a side, the denoiser half of that.
    width: int = Field(NATIVE_SIDE, ge=64, le=256, multiple_of=16, description="Pixels.")
    height: int = Field(NATIVE_SIDE, ge=64, le=256, multiple_of=16, description="Pixels.")
    guidance_scale: float = Field(2.0, ge=0, le=30, description="How closely the prompt is followed.")


class TinyTextToImage(TextToImage):
    """A small picture of one coloured shape, drawn by a model that comes with the runner."""

    draws = DRAWS

    class Params(TinyParams):
        pass


class TinyImageToImage(ImageToImage):
    """A small picture of one coloured shape, drawn over the one that is given."""

    draws = DRAWS

    class Params(TinyParams):
        strength: float = Field(0.9, gt=0, le=1, description="How much may change: 1 keeps nothing of the picture.")


def _tier(quality: Quality, steps: int) -> TierDeclaration:
    return TierDeclaration(
        quality=quality,
        pipeline=NAME,
        defaults={"steps": steps, "width": NATIVE_SIDE, "height": NATIVE_SIDE},
        resources=Resources(cpu=str(THREADS), memory="2Gi", threads=THREADS),
    )


tiny = Runner(
    NAME,
    (TinyTextToImage, TinyImageToImage),
    tiers=(
        _tier(Quality.DRAFT, 10),
        _tier(Quality.STANDARD, 20),
        _tier(Quality.HIGH, 30),
        _tier(Quality.ULTRA, 50),
    ),
    setup=load,
)
