"""Limits how many log lines of a function are passed on. Pure: time is an argument."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class LogLimiter:
    """At most so many log lines a second; what is dropped is counted, not kept."""

    lines_per_second: int = 50
    window: float = 0.0
    passed: int = 0
    dropped: int = 0

    def offer(self, now: float) -> tuple["LogLimiter", bool, int]:
        """The limiter afterwards, whether the line passes, and how many were dropped in the second before."""
        if now - self.window >= 1:
            return replace(self, window=now, passed=1, dropped=0), True, self.dropped
        if self.passed < self.lines_per_second:
            return replace(self, passed=self.passed + 1), True, 0
        return replace(self, dropped=self.dropped + 1), False, 0


def dropped_line(count: int) -> str:
    return f"… {count} lines dropped: at most 50 a second are kept"
