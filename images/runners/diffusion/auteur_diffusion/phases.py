"""A run's phases, moved along by what is seen of the pipeline: encode → denoise → decode. Knows no torch."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from auteur_runner import Context

# Shares of the whole; on a small model the prompt and the VAE cost about a tenth together.
ENCODE, DENOISE, DECODE = 0.05, 0.9, 0.05


class Phases:
    """A context manager for one run of a pipeline."""

    def __init__(self, ctx: Context, steps: int) -> None:
        self._ctx = ctx
        self._steps = steps
        self._done = 0
        self._open = ExitStack()
        self._denoising = False

    def __enter__(self) -> Self:
        self._enter("encode", ENCODE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    @property
    def last_step_done(self) -> bool:
        return self._done >= self._steps

    def denoiser_called(self, steps: int | None) -> None:
        """Before each call of the denoiser; the first ends the encoding. `steps` as the pipeline itself counts them."""
        self._ctx.check_cancelled()
        if not self._denoising:
            self._denoising = True
            self._steps = steps or self._steps
            self._enter("denoise", DENOISE, self._steps)

    def step_done(self) -> None:
        """Raises JobCancelled when the job was cancelled."""
        self._done += 1
        self._tick()
        if self.last_step_done:
            self._enter("decode", DECODE, 1)

    def finished(self) -> None:
        """The picture is there."""
        if self._denoising and not self.last_step_done:  # a pipeline that counts otherwise
            self._enter("decode", DECODE, 1)
        self._tick()

    def _enter(self, name: str, weight: float, steps: int | None = None) -> None:
        self._open.close()
        self._tick = self._open.enter_context(self._ctx.phase(name, steps=steps, weight=weight))
