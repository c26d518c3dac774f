"""The disk that the stack lies on is full, and later it is not: nothing that was accepted is lost, and work goes on by
itself.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auteur_kit.bus import Bus
from auteur_standalone.environment import nats_settings
from tests.support.disks import fill, small_disk
from tests.support.stack import Stack
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, megabytes=96) as disk:
        yield disk


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
        asyncio.run(_close_a_stream(stack))

        (disk / "filler").unlink()
        wait_for(lambda: stack.call("GET", "/health")[1]["status"] == "healthy", "health again", seconds=90)
        for job in [*before, stack.submit(params={"text": "after"})]:
            assert stack.finished(job, seconds=120)["status"] == "done"
    finally:
        (disk / "filler").unlink(missing_ok=True)
        stack.end()


async def _close_a_stream(stack: Stack) -> None:
    """Whether a worker wrote its report while there was no room is chance; NATS closes a stream at the first write that
    fails, and tells no publisher.
    """
    async with Bus.connect(nats_settings(stack.config), name="test") as bus:
        with pytest.raises(TimeoutError):
            await bus.js.publish("auteur.report.v1.nobody.nobody.1", b"no room" * 16_000, timeout=2)
        assert "REPORTS" in await bus.unwritable_streams()


def _refused(stack: Stack) -> dict[str, dict[str, str]] | None:
    status, said = stack.call("POST", "/v1/generations", {"function": "echo", "params": {"text": "no room"}})
    return said if status == 503 else None


def _unwell(stack: Stack) -> dict[str, dict[str, str]]:
    """Empty where it is well."""
    _, said = stack.call("GET", "/health")
    return said if said["status"] != "healthy" else {}
