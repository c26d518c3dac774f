"""Log lines, and what happens where they cannot be written."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import logging
from auteur_kit import logs
from auteur_kit.settings import LogSettings
logs.configure(LogSettings(), service="test")
for _ in range(3):
    logs.get_logger().warning("disk is full", why="it is")
    logging.getLogger("library").warning("so it is")
try:
    raise ValueError("a fault")
except ValueError:
    logs.get_logger().exception("still told")
print("goes on")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_line_that_cannot_be_written_ends_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            (sys.executable, "-c", SCRIPT), stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert done.stdout == "goes on\n"
