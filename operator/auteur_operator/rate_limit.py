"""Spaces out calls that cost the API server something, so that it does not get thousands of them at once."""

from collections.abc import Hashable


class RateLimit:
    """One call every `interval` seconds, each at the time reserved for its key. Pure: time is an argument (monotonic
    seconds).
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._free_at = float("-inf")
        self._slots: dict[Hashable, float] = {}

    def slot(self, key: Hashable, now: float) -> float:
        """When the key may call; a time that is not after `now` is used up. Asking earlier keeps the reserved time."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = max(now, self._free_at)
            self._free_at = slot + self._interval
        if slot <= now:
            del self._slots[key]
        return slot

    def forget(self, key: Hashable) -> None:
        self._slots.pop(key, None)
