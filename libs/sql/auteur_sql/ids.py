"""Row ids: 63 bits that grow with time, made here so that a row is known before it is written."""

import secrets
import time

_RANDOM_BITS = 20


class Ids:
    """Strictly growing within a process; two processes differ in their random bits."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        fresh = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        self._last = max(self._last + 1, fresh)
        return self._last
