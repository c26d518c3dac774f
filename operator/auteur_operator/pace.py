"""Questions that cost the API server something are asked one after the other: not all at once when it is slow."""

from collections.abc import Hashable


class Pace:
    """Each key in its slot; slots are `gap` seconds apart. Pure: time is an argument (monotonic seconds)."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._free_at = float("-inf")
        self._slots: dict[Hashable, float] = {}

    def slot(self, key: Hashable, now: float) -> float:
        """When it may ask: not after `now`, if it may now. Who asks again before that keeps its slot."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = max(now, self._free_at)
            self._free_at = slot + self._gap
        if slot <= now:
            del self._slots[key]
        return slot

    def forget(self, key: Hashable) -> None:
        self._slots.pop(key, None)
