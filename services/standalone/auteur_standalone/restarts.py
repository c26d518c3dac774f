"""When a part that died is started again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

_SHORT = 5.0
"""Seconds. A part that was ready and ran for longer has started well: its exit says nothing about the next start."""
_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)
_FAILING = 3


@dataclass(frozen=True)
class Run:
    """One run of a part's process, by a monotonic clock."""

    started: float
    ended: float
    ready: bool = True
    """Whether it ever became ready. On a slow machine even a start that fails may take long."""

    @property
    def short(self) -> bool:
        return not self.ready or self.ended - self.started < _SHORT


def _short_runs(history: Sequence[Run]) -> int:
    """How many of the last runs in a row were short."""
    count = 0
    for run in reversed(history):
        if not run.short:
            break
        count += 1
    return count


def restart_delay(history: Sequence[Run]) -> float:
    """Seconds until the next start: 0 after the first exit, growing when the part exits right after each start."""
    return _PAUSES[min(max(_short_runs(history) - 1, 0), len(_PAUSES) - 1)]


def is_failing(history: Sequence[Run]) -> bool:
    """Whether it fails to come up again and again: a person should look at its log."""
    return _short_runs(history) >= _FAILING
