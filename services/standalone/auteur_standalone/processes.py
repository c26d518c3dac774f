"""Pid files and locks: which process runs, whether it is still the same one, and how it is killed."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

_PR_SET_PDEATHSIG = 1
_PAUSE = 0.02
_PROC = Path("/proc")


def lowered(nice: int, then: Callable[[], None] | None = None) -> Callable[[], None]:
    """A `preexec_fn` that takes `nice` steps back behind others who want the processor, before `then`."""
    lower = os.nice

    def step_back() -> None:
        lower(nice)
        if then is not None:
            then()

    return step_back


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """A `preexec_fn` after which the kernel sends the child `by` when the thread that started it ends; None where the
    system cannot do that (it is Linux's).
    """
    if sys.platform != "linux":
        return None
    # All looked up before the fork: the child of a fork may only make plain system calls.
    prctl, getppid, exit_now = ctypes.CDLL(None, use_errno=True).prctl, os.getppid, os._exit
    parent, wanted = os.getpid(), int(by)

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, wanted, 0, 0, 0)
        if getppid() != parent:  # the parent died before the call: no signal will come
            exit_now(1)

    return ask_kernel


class PidFile(BaseModel):
    """A process as its file has it. Its start time tells it from a stranger that got its number later."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str


def start_time(pid: int) -> str:
    """When a process started, in whatever form the system says it; empty when there is no such process."""
    if (_PROC / "self" / "stat").exists():
        try:
            text = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return ""
        state, *fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
        return "" if state == "Z" else fields[18]
    told = subprocess.run(("ps", "-o", "lstart=", "-p", str(pid)), capture_output=True, text=True, check=False)
    return told.stdout.strip()


def write_pid_file(path: Path, pid: int) -> None:
    path.write_text(PidFile(pid=pid, started=start_time(pid)).model_dump_json())


def read_pid_file(path: Path) -> int | None:
    """The process that `path` speaks of, if it still runs."""
    try:
        known = PidFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return known.pid if known.started and start_time(known.pid) == known.started else None


def kill_leftover(path: Path, *, seconds: float = 5.0) -> int | None:
    """Kills the process that `path` speaks of, and its group, if it still runs. Returns its number."""
    pid = read_pid_file(path)
    if pid is not None:
        kill_group(pid, signal.SIGKILL)
        deadline = time.monotonic() + seconds
        while start_time(pid) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    path.unlink(missing_ok=True)
    return pid


def kill_group(pid: int, how: signal.Signals) -> None:
    """Every part leads a process group of its own."""
    try:
        os.killpg(pid, how)
    except ProcessLookupError:
        return
    except PermissionError:
        os.kill(pid, how)


class AlreadyLocked(Exception):
    """Another process holds the lock."""


def lock(path: Path) -> IO[bytes]:
    """The lock of a data folder. It lives as long as the returned file is open, and dies with its process."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise AlreadyLocked(str(path)) from error
    return file


def is_locked(path: Path) -> bool:
    try:
        lock(path).close()
    except AlreadyLocked:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    return False
