"""The one pipeline of a process, and how an ask becomes a picture with it: phases, previews, cancel, less memory.

Importing this imports torch.
"""

import torch
from PIL import Image

from auteur_contracts.resources import Tier
from auteur_diffusion import ladder, pipelines
from auteur_diffusion.asking import Ask, check
from auteur_diffusion.ladder import Rung
from auteur_diffusion.phases import Phases
from auteur_diffusion.pipelines import Pipeline
from auteur_diffusion.previews import Previewer
from auteur_diffusion.settings import Settings
from auteur_diffusion.sources import Source, find
from auteur_diffusion.vocabulary import Vocabulary
from auteur_diffusion.watching import Step, watched
from auteur_runner import Context, OutOfMemory

OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


class Painter:
    """One ask at a time: pipelines keep the state of their run in themselves."""

    def __init__(self, source: Source, rungs: tuple[Rung, ...], rung: Rung, *, previews: bool = True) -> None:
        self._source = source
        self._rungs = rungs
        self._shows_previews = previews
        self.vocabulary = Vocabulary.load(source.folder) if source.folder else None
        self._text_to_image: Pipeline
        self._image_to_image: Pipeline
        self._stand_on(rung)

    @classmethod
    def load(cls, tier: Tier, settings: Settings) -> "Painter":
        rungs = ladder.rungs_of(tier.vram_gigabytes, tier.optimizations)
        source = find(tier.pipeline, settings)
        pipelines.pin(tier.threads)
        rung = ladder.choose(rungs, pipelines.room(), vram_gigabytes=tier.vram_gigabytes)
        try:
            return cls(source, rungs, rung, previews=settings.previews)
        except OUT_OF_MEMORY:
            tighter = ladder.step_down(rungs, rung)
            if tighter is None:
                raise
        pipelines.free_memory()  # outside of the except: its traceback held what was loaded
        return cls(source, rungs, tighter, previews=settings.previews)

    def paint(self, ask: Ask, ctx: Context) -> Image.Image:
        """Raises InvalidRequest, OutOfMemory, and JobCancelled out of the pipeline's midst."""
        check(ask, max_pixels=self.rung.max_pixels)
        try:
            return self._run(ask, ctx)
        except OUT_OF_MEMORY as error:
            tighter = ladder.step_down(self._rungs, self.rung)
            if tighter is None:
                raise OutOfMemory(
                    f"{ask.width}x{ask.height} on the tightest plan, {self.rung.name}: {error}"
                ) from error
        self._step_down(tighter, ctx)
        check(ask, max_pixels=self.rung.max_pixels)
        return self._run(ask, ctx)

    def _run(self, ask: Ask, ctx: Context) -> Image.Image:
        pipeline = self._text_to_image if ask.start is None else self._from_pictures()
        pipeline._num_timesteps = None  # noqa: SLF001 -- of the run before; most pipelines set it, some do not

        def before_denoiser() -> None:
            phases.denoiser_called(getattr(pipeline, "_num_timesteps", None))

        def after_step(step: Step) -> None:
            phases.step_done()
            if self._shows_previews and not phases.last_step_done and ctx.preview_due():
                self._preview(pipeline, step, ask, ctx)

        with (
            pipelines.emptied_afterwards(pipeline),
            Phases(ctx, ask.steps_to_run) as phases,
            watched(pipeline, before_denoiser=before_denoiser, after_step=after_step),
        ):
            picture: Image.Image = pipeline(**pipelines.call_arguments(pipeline, ask)).images[0]
            phases.finished()
        return picture

    def _preview(self, pipeline: Pipeline, step: Step, ask: Ask, ctx: Context) -> None:
        try:
            picture = self._previewer.picture(pipeline, step, (ask.width, ask.height))
        except Exception as error:  # noqa: BLE001 -- a preview is a courtesy: no job fails for it
            self._shows_previews = False
            ctx.log(f"no previews of this pipeline: {type(error).__name__}: {error}", "warning")
            return
        if picture is not None:
            ctx.preview(picture)

    def _from_pictures(self) -> Pipeline:
        if self._image_to_image is None:
            self._image_to_image = pipelines.starting_from_pictures(self._text_to_image, self.rung)
        return self._image_to_image

    def _stand_on(self, rung: Rung) -> None:
        self.rung = rung
        self._text_to_image = pipelines.load(self._source, rung)
        self._image_to_image = None
        self._previewer = Previewer(self._text_to_image)

    def _step_down(self, rung: Rung, ctx: Context) -> None:
        """For this attempt and all that follow in this process: what did not fit once will not fit again."""
        warning = f'Memory ran out on the plan "{self.rung.name}"; drawn again on the tighter "{rung.name}".'
        del self._text_to_image, self._previewer
        self._image_to_image = None
        pipelines.free_memory()  # first the old one goes: both may not fit
        with ctx.phase("loading model"):
            self._stand_on(rung)
        ctx.warning(warning)
        ctx.metric("memory_steps_down", 1)
