"""Time is an argument: programs pass `utc_now`, tests pass a function of their own."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present, timezone-aware."""
    return datetime.now(UTC)
