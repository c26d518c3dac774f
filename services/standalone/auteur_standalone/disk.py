"""How much of the disk the stack uses, and when that becomes a worry."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from auteur_standalone.layout import Layout

LOW_BYTES = 2 * 1024**3
"""Less free space than this is worth a warning: the S3 server stops taking pictures before the disk is full."""


@dataclass(frozen=True)
class Usage:
    parts: dict[str, int]
    free: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    @property
    def low(self) -> bool:
        return self.free < LOW_BYTES


def measure(layout: Layout) -> Usage:
    parts = {
        "nats": _size(layout.nats),
        "s3": _size(layout.store),
        "databases": sum(_size(path) for path in layout.root.glob("*.db*")),
        "logs": _size(layout.logs),
        "runner environments": _size(layout.environments),
    }
    return Usage(parts, shutil.disk_usage(layout.root).free)


def _size(path: Path) -> int:
    """What is allocated, not what is promised: stores make sparse files. A link counts as itself."""
    if not path.is_dir() or path.is_symlink():
        return _allocated(path)
    return _allocated(path) + sum(_allocated(below) for below in path.rglob("*"))


def _allocated(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
