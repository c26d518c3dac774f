"""diffusers, from a source to a pipeline that lies where its rung says. Importing this imports torch."""

import contextlib
import gc
import importlib.util
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.quantizers.pipe_quant_config import PipelineQuantizationConfig

from auteur_contracts.vocabulary import Reason
from auteur_diffusion.asking import Ask
from auteur_diffusion.ladder import Offload, Quantization, Room, Rung
from auteur_diffusion.sources import INDEX, Source, check
from auteur_runner import InvalidRequest, PlatformError

Pipeline: TypeAlias = Any
"""A DiffusionPipeline: diffusers makes its pipelines' attributes at run time and types none of them."""

GIB = 1024**3
LARGE_COMPONENTS = ("transformer", "unet", "text_encoder_2", "text_encoder_3")
"""What quantization pays for: denoisers, and the large text encoders of pipelines that have several."""
TRUE_GUIDANCE = 2.0
"""For distilled models, whose guidance is an input of the denoiser: a negative prompt acts only through real guidance,
which doubles the time and is used only when there is one."""


def room() -> Room:
    """What this machine has free now."""
    card, total = torch.cuda.mem_get_info() if torch.cuda.is_available() else (0, 0)
    return Room(card / GIB, total / GIB, _free_ram_gib())


def pin(threads: int) -> None:
    """The same bytes for the same seed, as far as the hardware allows."""
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def load(source: Source, rung: Rung) -> Pipeline:
    """Raises PlatformError for a model that may not or cannot be loaded."""
    if source.folder is not None:
        check(source.folder)
    _quieten()
    try:
        pipeline: Pipeline = DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            source.location,
            revision=source.revision,
            use_safetensors=True,
            local_files_only=source.folder is not None,
            **loading_arguments(rung, components_of(source.folder)),
        )
    except (OSError, ValueError, KeyError) as error:
        raise PlatformError(f"The model at {source.location} cannot be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    place(pipeline, rung)
    return pipeline


def loading_arguments(rung: Rung, components: tuple[str, ...]) -> dict[str, Any]:
    """What `from_pretrained` is told. `components` are those of LARGE_COMPONENTS that the model has."""
    arguments: dict[str, Any] = {"dtype": getattr(torch, rung.dtype)}
    if rung.quantization is Quantization.NF4:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise PlatformError('4-bit weights need bitsandbytes: install "auteur-runner-diffusion[cuda]".')
        arguments["quantization_config"] = PipelineQuantizationConfig(
            quant_backend="bitsandbytes_4bit",
            quant_kwargs={
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_compute_dtype": getattr(torch, rung.dtype),
            },
            components_to_quantize=list(components),
        )
    return arguments


def components_of(folder: Path | None) -> tuple[str, ...]:
    """Of a repo nobody has looked into: the usual two."""
    if folder is None:
        return "transformer", "text_encoder_2"
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return tuple(name for name in LARGE_COMPONENTS if name in index)


def place(pipeline: Pipeline, rung: Rung) -> None:
    """Move the pipeline to where its rung wants it, and set the VAE's economies."""
    device = "cuda" if rung.min_free_gib else "cpu"
    match rung.offload:
        case Offload.NONE:
            pipeline.to(device)
        case Offload.MODEL:
            pipeline.enable_model_cpu_offload(device=device)
        case Offload.SEQUENTIAL:
            pipeline.enable_sequential_cpu_offload(device=device)
    vae = getattr(pipeline, "vae", None)
    if rung.vae_slicing and vae is not None and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
    if rung.vae_tiling and vae is not None and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()


def starting_from_pictures(pipeline: Pipeline, rung: Rung) -> Pipeline:
    """The same components as an image-to-image pipeline."""
    from diffusers import AutoPipelineForImage2Image  # noqa: PLC0415 -- it imports dozens of pipelines: a second

    try:
        other = AutoPipelineForImage2Image.from_pipe(pipeline)
    except ValueError as error:
        message = f"{type(pipeline).__name__} has no image-to-image form in diffusers {diffusers.__version__}"
        raise InvalidRequest(message, reason=Reason.NOT_SUPPORTED) from error
    other.set_progress_bar_config(disable=True)
    if rung.offload is not Offload.NONE:
        place(other, rung)  # the hooks that move components belong to one pipeline
    return other


def call_arguments(pipeline: Pipeline, ask: Ask) -> dict[str, Any]:
    """The ask in the pipeline's own words: what its `__call__` does not take is left out."""
    takes = inspect.signature(type(pipeline).__call__).parameters
    arguments: dict[str, Any] = {
        "prompt": ask.prompt,
        "width": ask.width,
        "height": ask.height,
        "num_inference_steps": ask.steps,
        "guidance_scale": ask.guidance_scale,
        # On the CPU whatever the device: the same seed starts from the same noise on every card.
        "generator": torch.Generator("cpu").manual_seed(ask.seed),
    }
    if ask.negative_prompt:
        arguments |= {"negative_prompt": ask.negative_prompt, "true_cfg_scale": TRUE_GUIDANCE}
    if ask.start is not None:
        arguments |= {"image": ask.start.picture, "strength": ask.start.strength}
    return {name: value for name, value in arguments.items() if name in takes}


@contextlib.contextmanager
def emptied_afterwards(pipeline: Pipeline) -> Iterator[None]:
    """A run that is left by an exception leaves nothing on the card that the next one would trip over."""
    try:
        yield
    except BaseException:
        pipeline.maybe_free_model_hooks()
        raise


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _quieten() -> None:
    """Progress is told as facts, not as bars on stderr."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _free_ram_gib() -> float:
    """MemAvailable; unlimited where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) / 1024**2
    except (OSError, KeyError, ValueError):
        return float("inf")
