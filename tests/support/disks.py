"""Disks that are small enough to be filled."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(beside: Path, *, megabytes: int) -> Iterator[Path]:
    """In memory; only root may."""
    where = beside / "disk"
    where.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "small", where), check=True)
    try:
        yield where
    finally:
        subprocess.run(("umount", "--lazy", where), check=True)


def fill(path: Path) -> None:
    """Until not one byte fits any more."""
    size = 1 << 20
    with path.open("ab", buffering=0) as file:
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
