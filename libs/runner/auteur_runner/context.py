"""What a function gets to talk to its job: phases and steps, previews, log, metrics, seed, folder, saved media.

It knows nothing of sockets or NATS: everything leaves through one callable that takes messages.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from auteur_contracts.names import seed_of
from auteur_contracts.quantities import MAX_WARNINGS
from auteur_contracts.resources import Tier
from auteur_contracts.vocabulary import Quality
from auteur_runner import protocol, saving
from auteur_runner.errors import JobCancelled
from auteur_runner.media import Media
from auteur_runner.progress import Shown, Span, open_span, worth_showing
from auteur_runner.sanitize import sanitize

Level = Literal["debug", "info", "warning", "error"]
Send = Callable[[protocol.Up], None]
PREVIEW_SECONDS = 0.5


class Phase:
    """A phase that is under way. Call it after each step."""

    def __init__(self, context: "_BaseContext", span: Span) -> None:
        self._context = context
        self.span = span

    def __call__(self, message: str | None = None) -> None:
        """One step done. Raises JobCancelled when the job was cancelled."""
        self.span = self.span.advanced()
        self._context.show(self.span, message)
        self._context.check_cancelled()


class _BaseContext:
    """What setup and run have in common."""

    def __init__(self, send: Send, cancelled: Callable[[], bool], tier: Tier) -> None:
        self._send = send
        self._cancelled = cancelled
        self._reached = 0.0
        self._open: Phase | None = None
        self._shown: Shown | None = None
        self.tier = tier
        """What the job's quality means for this runner: pipeline, optimizations, threads."""

    @property
    def quality(self) -> Quality:
        return self.tier.quality

    def log(self, line: object, level: Level = "info") -> None:
        """A line of the job's log. `print` works as well."""
        self._send(protocol.Log(level=level, line=sanitize(line, 4096)))

    def check_cancelled(self) -> None:
        """Raises JobCancelled when the job was cancelled. `step()` does it for you."""
        if self._cancelled():
            raise JobCancelled

    @contextmanager
    def phase(self, name: str, *, steps: int | None = None, weight: float | None = None) -> Iterator[Phase]:
        """A named part of the work. `weight` is its share of the whole (0 to 1); without, a good guess is made.

        >>> with ctx.phase("denoise", steps=20) as step:  # doctest: +SKIP
        ...     for _ in range(20):
        ...         step()
        """
        if self._open is not None:
            raise RuntimeError(f'phase "{name}" was opened inside "{self._open.span.phase}": phases follow each other')
        self.check_cancelled()
        span = open_span(sanitize(name, 64), reached=self._reached, steps=steps, weight=weight, now=time.monotonic())
        phase = self._open = Phase(self, span)
        self.show(span, None)
        try:
            yield phase
        finally:
            self._open = None
        self._reached = span.end

    def show(self, span: Span, message: str | None) -> None:
        now = time.monotonic()
        step = span.step if span.steps else None
        if worth_showing(self._shown, span.phase, step, span.steps, now):
            self._shown = Shown(span.phase, step, now)
            self._send(protocol.Progressed(progress=span.progress(now, message and sanitize(message, 512))))


class SetupContext(_BaseContext):
    """What `setup` gets. Setup runs once in a process, and again (on a new instance) when a job needs a tier with
    another pipeline, other optimizations or another number of threads."""


class Context(_BaseContext):
    """What `run` gets."""

    def __init__(self, order: protocol.Run, send: Send, cancelled: Callable[[], bool]) -> None:
        super().__init__(send, cancelled, order.tier)
        self._order = order
        self._previews = 0
        self._next_preview = 0.0
        self._warnings: list[str] = []
        self.function = order.function
        self.uid = order.uid
        self.attempt = order.attempt
        self.folder = Path(order.folder)
        """The attempt's own folder: write what you like, `save` what should stay."""
        self.seed = seed_of(order.uid) if order.seed is None else order.seed

    def rng(self) -> random.Random:
        """A generator seeded with the job's seed; a new one at each call."""
        return random.Random(self.seed)  # noqa: S311 -- repeatable pictures, not secrets

    def metric(self, name: str, value: float) -> None:
        """A named figure of the run; it ends up in the report."""
        self._send(protocol.Metric(name=name, value=float(value)))

    def warning(self, text: str) -> None:
        """Something the user should know although the job goes on. Shown with the result."""
        text = sanitize(text, 512)
        if text not in self._warnings and len(self._warnings) < MAX_WARNINGS:
            self._warnings.append(text)
            self._send(protocol.Warned(text=text))

    def preview_due(self) -> bool:
        """Ask before computing a preview: at most two a second are shown."""
        return time.monotonic() >= self._next_preview

    def preview(self, picture: Any) -> None:
        """Show an unfinished picture (a PIL image, or an encoded one as bytes). Dropped when the last one is fresh."""
        if not self.preview_due():
            return
        try:
            jpeg = saving.preview_jpeg(picture)
        except Exception as error:  # noqa: BLE001 -- whatever it is, a preview is not worth a failed run
            self.log(f"preview dropped: {error!r}", level="warning")
            jpeg = None
        self._next_preview = time.monotonic() + PREVIEW_SECONDS
        if jpeg is None:
            return
        self._previews += 1
        file = self.folder / f".preview-{self._previews}.jpg"
        file.write_bytes(jpeg)
        step = self._open.span.step if self._open and self._open.span.steps else None
        self._send(protocol.Previewed(file=str(file), step=step))

    def save(self, content: Any, name: str, *, seconds: float | None = None) -> Media:
        """Write an output into the attempt's folder: a PIL image, bytes, a path to copy, or a dict or list as JSON."""
        about = saving.About(function=self.function, seed=self.seed, params_digest=self._order.params_digest)
        return saving.save(content, self.folder, name, about, seconds=seconds)
