"""The runner `diffusion`: any diffusers pipeline on a CUDA card, in the tiers of the quality presets.

Which weights a pipeline id stands for is the installation's to say (`AUTEUR_DIFFUSION__MODELS`); none are shipped.
"""

from auteur_diffusion.functions import ImageToImage, PictureParams, TextToImage
from auteur_diffusion.ladder import Optimization
from auteur_diffusion.loading import load
from auteur_runner import Field, Quality, Resources, Runner, TierDeclaration

NAME = "diffusion"
LOW_VRAM = "gms-flux:1.0-low-vram"
STANDARD = "gms-flux:1.0-standard"
HIGH_FIDELITY = "gms-flux:1.0-high-fidelity"


class FluxParams(PictureParams):
    width: int = Field(1024, ge=256, le=2048, multiple_of=16, description="Pixels.")
    height: int = Field(1024, ge=256, le=2048, multiple_of=16, description="Pixels.")


class FluxTextToImage(TextToImage):
    """A picture from a description, by the large model that this installation has mounted."""

    class Params(FluxParams):
        pass


class FluxImageToImage(ImageToImage):
    """A picture from another picture and a description, by the large model that this installation has mounted."""

    size_multiple = 16

    class Params(FluxParams):
        strength: float = Field(0.8, gt=0, le=1, description="How much may change: 1 keeps nothing of the picture.")


def _tier(
    quality: Quality, pipeline: str, vram: int, memory: str, steps: int, side: int, *optimizations: Optimization
) -> TierDeclaration:
    return TierDeclaration(
        quality=quality,
        pipeline=pipeline,
        vram_gigabytes=vram,
        optimizations=optimizations,
        defaults={"steps": steps, "width": side, "height": side},
        resources=Resources(cpu="4", memory=memory),
    )


flux = Runner(
    NAME,
    (FluxTextToImage, FluxImageToImage),
    tiers=(
        _tier(Quality.DRAFT, LOW_VRAM, 12, "48Gi", 10, 512, Optimization.CPU_OFFLOADING, Optimization.SEQUENTIAL),
        _tier(Quality.STANDARD, STANDARD, 16, "32Gi", 20, 1024, Optimization.MODERATE_PARALLEL),
        _tier(Quality.HIGH, HIGH_FIDELITY, 24, "40Gi", 30, 1536, Optimization.FULL_PARALLEL),
        _tier(Quality.ULTRA, HIGH_FIDELITY, 24, "40Gi", 50, 2048, Optimization.FULL_PARALLEL),
    ),
    setup=load,
)
