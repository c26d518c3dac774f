"""Processes as files write_pid_file them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auteur_standalone import processes
from auteur_standalone.processes import PidFile
from tests.support.waiting import wait_for

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def written(path: Path) -> str:
    """What its one line says; empty while nobody has written it."""
    return path.read_text().strip() if path.exists() else ""


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(SLEEPER, start_new_session=True) as process:
        yield process
        process.kill()


def test_a_remembered_process_is_recalled_while_it_runs(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    path = tmp_path / "part.pid"
    processes.write_pid_file(path, sleeper.pid)
    assert processes.read_pid_file(path) == sleeper.pid
    sleeper.kill()
    sleeper.wait()
    assert processes.read_pid_file(path) is None


def test_a_stranger_with_a_recycled_number_is_never_ended(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    path = tmp_path / "part.pid"
    path.write_text(PidFile(pid=sleeper.pid, started="long ago").model_dump_json())
    assert processes.read_pid_file(path) is None
    assert processes.kill_leftover(path) is None
    assert sleeper.poll() is None
    assert not path.exists()


def test_a_leftover_is_ended_with_its_group(tmp_path: Path) -> None:
    path, child = tmp_path / "part.pid", tmp_path / "child.pid"
    script = f"sleep 600 & echo $! > {child}; wait"
    with subprocess.Popen(("sh", "-c", script), start_new_session=True) as process:
        grandchild = int(wait_for(lambda: written(child), "the grandchild"))
        processes.write_pid_file(path, process.pid)
        assert processes.kill_leftover(path) == process.pid
        assert process.wait(5) == -signal.SIGKILL
        wait_for(lambda: not processes.start_time(grandchild), "the grandchild to end")
    assert not path.exists()


def test_what_no_file_speaks_of_is_nothing(tmp_path: Path) -> None:
    assert processes.read_pid_file(tmp_path / "none.pid") is None
    (tmp_path / "broken.pid").write_text("17")
    assert processes.read_pid_file(tmp_path / "broken.pid") is None
    assert processes.start_time(2**22 + 1) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        "import pathlib, subprocess, sys, time\n"
        "from auteur_standalone.processes import die_with_parent\n"
        f"child = subprocess.Popen({SLEEPER!r}, preexec_fn=die_with_parent(), start_new_session=True)\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen((sys.executable, "-c", script)) as parent:
        child = int(wait_for(lambda: written(pid), "the child"))
        assert processes.start_time(child)
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not processes.start_time(child), "the child to die with its parent")


def test_who_is_started_a_step_back_has_a_lower_priority() -> None:
    asked = (sys.executable, "-c", "import os; print(os.nice(0))")
    told = subprocess.run(asked, preexec_fn=processes.lowered(5), capture_output=True, text=True, check=True)
    assert int(told.stdout) == min(os.nice(0) + 5, 19)


def test_a_lock_is_held_once_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not processes.is_locked(path)
    with processes.lock(path):
        assert processes.is_locked(path)
        with pytest.raises(processes.AlreadyLocked):
            processes.lock(path)
    assert not processes.is_locked(path)
