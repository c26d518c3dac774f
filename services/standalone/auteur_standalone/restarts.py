"""When a part that died is started again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

_SHORT = 5.0
"""Seconds. A part that was ready and lived longer was well: its death says nothing about the next life."""
_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)
_FAILING = 3


@dataclass(frozen=True)
class Life:
    """Of a part, by a monotonic clock."""

    started: float
    ended: float
    ready: bool = True
    """Whether it ever answered. A slow machine may take long over a start that fails."""

    @property
    def short(self) -> bool:
        return not self.ready or self.ended - self.started < _SHORT


def _short_lives(history: Sequence[Life]) -> int:
    """How many of the last lives in a row were short."""
    count = 0
    for life in reversed(history):
        if not life.short:
            break
        count += 1
    return count


def restart_delay(history: Sequence[Life]) -> float:
    """Seconds until the next start: none after a death, ever more when it dies right after its starts."""
    return _PAUSES[min(max(_short_lives(history) - 1, 0), len(_PAUSES) - 1)]


def is_failing(history: Sequence[Life]) -> bool:
    """It does not come up: a person should look at its log."""
    return _short_lives(history) >= _FAILING
