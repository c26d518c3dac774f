"""The disk that the stack lies on is full, and later it is not: nothing that was accepted is lost, and work goes on by
itself.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk"),
]
_MEGABYTES = 96


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "small", where), check=True)
    yield where
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


def test_work_stops_while_the_disk_is_full_and_goes_on_when_there_is_room(disk: Path) -> None:
    stack = Stack(disk / "home")
    try:
        stack.add_echo()
        stack.up()
        before = [stack.submit(params={"text": f"before {number}", "seconds": 1}) for number in range(3)]
        for _ in range(3):
            fill(disk / "filler")
        refused = wait_for(lambda: _refused(stack), "a request to be refused", seconds=90)
        assert refused["error"]["code"] == "unavailable"
        unwell = wait_for(lambda: _unwell(stack), "health to say so", seconds=60)
        assert unwell["checks"]["database"] != "ok"
        stack.kill("engine")  # whoever keeps it has something to say of it, and nowhere to write it
        wait_for(lambda: _unwell(stack)["checks"]["control_plane"] != "ok", "health to miss the engine", seconds=60)

        (disk / "filler").unlink()
        wait_for(lambda: stack.call("GET", "/health")[1]["status"] == "healthy", "health again", seconds=90)
        for job in [*before, stack.submit(params={"text": "after"})]:
            assert stack.finished(job, seconds=120)["status"] == "done"
    finally:
        (disk / "filler").unlink(missing_ok=True)
        stack.end()


def _refused(stack: Stack) -> dict[str, dict[str, str]] | None:
    status, said = stack.call("POST", "/v1/generations", {"function": "echo", "params": {"text": "no room"}})
    return said if status == 503 else None


def _unwell(stack: Stack) -> dict[str, dict[str, str]]:
    """Empty where it is well."""
    _, said = stack.call("GET", "/health")
    return said if said["status"] != "healthy" else {}
