"""Control groups of a test's own, in every hierarchy that the machine has, and their removal."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support.waiting import wait_for


@contextmanager
def made(name: str) -> Iterator[None]:
    """Empty groups, without those that a killed run has left under this name."""
    groups = [hierarchy / name for hierarchy in hierarchies()]
    for group in groups:
        remove(group)
        group.mkdir()
        for limits in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, and then nothing may run in it
            if (group.parent / limits).exists():
                (group / limits).write_text((group.parent / limits).read_text())
    try:
        yield
    finally:
        for group in groups:
            remove(group)


def hierarchies() -> list[Path]:
    """One in a unified system; one for each controller in an older one."""
    mounted = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(place) for _, place, kind, *_ in mounted if kind in ("cgroup", "cgroup2")]


def remove(group: Path) -> None:
    """With all in it. Its processes were killed, and may still be ending."""
    for each in _innermost_first(group):
        wait_for(partial(_removed, each), f"{each} to have no processes")


def remove_unused(group: Path) -> None:
    """The groups in it that hold no processes, and itself when nothing is left."""
    for each in _innermost_first(group):
        with contextlib.suppress(OSError):
            each.rmdir()


def _innermost_first(group: Path) -> list[Path]:
    return sorted((path for path in (group, *group.rglob("*")) if path.is_dir()), reverse=True)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
