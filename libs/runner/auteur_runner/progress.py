"""The arithmetic of progress: phases of unknown number become one fraction that never falls. Pure."""

from dataclasses import dataclass

from auteur_contracts.resources import Progress

_STEPPED_SHARE = 0.9
_PLAIN_SHARE = 0.1
"""A phase's share of what is left, where the author gives no weight: a phase with steps is most of the work."""


@dataclass(frozen=True)
class Span:
    """One phase: which part of the whole it covers, and how far it is."""

    phase: str
    start: float
    end: float
    steps: int | None
    began: float
    """Monotonic seconds."""
    step: int = 0

    def advanced(self) -> "Span":
        """The span after one more step. Steps beyond those announced stay at the phase's end."""
        step = self.step + 1
        step = step if self.steps is None else min(step, self.steps)
        return Span(self.phase, self.start, self.end, self.steps, self.began, step)

    @property
    def fraction(self) -> float:
        if not self.steps:
            return self.start
        return self.start + (self.end - self.start) * self.step / self.steps

    def eta_seconds(self, now: float) -> float | None:
        """Seconds until this phase ends, by its pace so far."""
        if not self.steps or not self.step:
            return None
        return round((now - self.began) / self.step * (self.steps - self.step), 3)

    def progress(self, now: float, message: str | None = None) -> Progress:
        return Progress(
            phase=self.phase,
            fraction=round(self.fraction, 4),
            step=self.step if self.steps else None,
            steps=self.steps,
            eta_seconds=self.eta_seconds(now),
            message=message,
        )


def open_span(phase: str, *, reached: float, steps: int | None, weight: float | None, now: float) -> Span:
    """The next phase after `reached`. `weight` is its share of the whole attempt."""
    if steps is not None and steps < 1:
        steps = None
    share = weight if weight is not None else (1 - reached) * (_STEPPED_SHARE if steps else _PLAIN_SHARE)
    return Span(phase, reached, max(reached, min(1.0, reached + share)), steps, now)


@dataclass(frozen=True)
class Shown:
    """The newest progress that was let through, and when."""

    phase: str
    step: int | None
    at: float


def worth_showing(
    shown: Shown | None, phase: str, step: int | None, steps: int | None, now: float, every_seconds: float = 0.1
) -> bool:
    """The first and the last of each phase always; in between at most one each `every_seconds`.

    Called at every step, so it takes plain values: building a message would cost more than a step may.
    """
    if shown is None or shown.phase != phase:
        return True
    is_last = step is not None and step == steps and shown.step != step
    return is_last or now - shown.at >= every_seconds
