"""What the kernel did when a container's memory was full: it kills the largest process, often the function's, and the
others live on. It counts what it killed in the files of the container's control group.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

_COUNTERS = ("memory.events", "memory/memory.oom_control")
"""The files of cgroup version 2 and version 1; each has a line `oom_kill <number>`."""
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
_NO_LIMIT = 2**60
"""Version 1 has a number near 2^63 where there is no limit."""


@dataclass(frozen=True)
class Cgroup:
    folder: Path = Path("/sys/fs/cgroup")

    def kills(self) -> int:
        """How many processes of this container were killed for memory so far; 0 where the kernel does not count
        them."""
        for name in _COUNTERS:
            with contextlib.suppress(OSError, ValueError):
                lines = (line.split() for line in (self.folder / name).read_text().splitlines())
                return next((int(words[1]) for words in lines if words[:1] == ["oom_kill"]), 0)
        return 0

    def limit(self) -> int | None:
        """How many bytes this container may use; None where there is no limit."""
        for name in _LIMITS:
            with contextlib.suppress(OSError, ValueError):  # "max" is no number
                limit = int((self.folder / name).read_text())
                return limit if limit < _NO_LIMIT else None
        return None
