"""The first process of a container, in a process namespace of its own: nobody stays dead in it, signals and the exit
code pass through.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_for

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
BEGIN = """
import os, signal, sys, time
from pathlib import Path
from auteur_runner.agent.init import fork_behind_init
assert os.getpid() == 1
fork_behind_init()

def states():
    return [path.read_text().rsplit(")", 1)[1].split()[0] for path in Path("/proc").glob("[0-9]*/stat")]
"""
ORPHANS = """
for _ in range(5):
    if os.fork() == 0:  # its own child loses it at once, lives a little, and ends with the first process as parent
        if os.fork() == 0:
            time.sleep(0.2)
        os._exit(0)
    os.wait()
deadline = time.monotonic() + 10
while len(states()) > 2 and time.monotonic() < deadline:
    time.sleep(0.02)
print(len(states()), "Z" in states())
sys.exit(75)
"""
STAY = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Path(sys.argv[1]).touch()
while True:
    signal.pause()
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace of its own takes root")


def argv(script: str, *words: str | Path) -> tuple[str, ...]:
    return (*UNSHARE, sys.executable, "-c", BEGIN + script, *map(str, words))


def test_the_dead_are_collected_and_the_exit_code_passes() -> None:
    ended = subprocess.run(argv(ORPHANS), capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.returncode) == ("2 False\n", 75), ended.stderr


def test_a_killed_agent_is_told_by_its_signal() -> None:
    assert subprocess.run(argv(DIE), timeout=30, check=False).returncode == 128 + signal.SIGKILL


def test_sigterm_reaches_the_agent(tmp_path: Path) -> None:
    there = tmp_path / "there"
    process = subprocess.Popen(argv(STAY, there))
    try:
        wait_for(there.exists, "the agent to be there")
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
