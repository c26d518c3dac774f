"""A second `auteur up` beside a stack that runs and is not ready: it may fail, or be interrupted, and stops nothing."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auteur_standalone import processes, state
from auteur_standalone.launcher import SUPERVISOR
from auteur_standalone.state import PartReport, PartState, StackState
from tests.support.stack import AUTEUR, Stack


class Starting:
    """Somebody else's stack as its files tell it: the lock is held, a supervisor runs, its gateway answers nothing."""

    def __init__(self, home: Path) -> None:
        self.stack = Stack(home)
        self.stack.layout.make()
        self.lock = processes.lock(self.stack.layout.lock)
        self.supervisor = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"))
        processes.write_pid_file(self.stack.layout.process(SUPERVISOR), self.supervisor.pid)

    def says(self, gateway: PartState, url: str = "http://127.0.0.1:1") -> None:
        report = PartReport(name="gateway", state=gateway, message="ended with exit code 1")
        now = StackState(pid=self.supervisor.pid, url=url, started=0, parts=(report,))
        state.write(self.stack.layout.state, now)

    def end(self) -> None:
        self.supervisor.kill()
        self.supervisor.wait()
        self.lock.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Starting]:
    found = Starting(tmp_path / "home")
    yield found
    found.end()


def test_that_fails_leaves_it_running(other: Starting) -> None:
    other.says(PartState.FAILING)
    second = other.stack.auteur("up")
    assert second.returncode == 5
    assert "gateway does not start" in second.stderr
    assert other.supervisor.poll() is None


def test_that_is_interrupted_leaves_it_running(other: Starting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        gateway.settimeout(30)
        other.says(PartState.RUNNING, f"http://127.0.0.1:{gateway.getsockname()[1]}")
        with subprocess.Popen((AUTEUR, "up"), env=other.stack.environment, stderr=subprocess.PIPE, text=True) as second:
            for _ in range(3):  # asked once whether it is ready, and then again and again: it waits now
                gateway.accept()[0].close()
            second.send_signal(signal.SIGINT)
            told = second.communicate(timeout=30)[1]
    assert second.returncode == 130
    assert "the stack goes on: it was started by somebody else; to stop it: auteur down" in told
    assert other.supervisor.poll() is None


def test_status_tells_what_is_starting_from_what_does_not_run(other: Starting) -> None:
    told = other.stack.auteur("status", "-o", "json")
    assert told.returncode == 5
    assert '"running": true' in told.stdout
    assert '"ready": false' in told.stdout
    assert other.stack.auteur("status").stdout.startswith("starting; data in ")


def test_wrong_settings_and_names_are_refused_in_a_sentence(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", AUTEUR_LOG__LEVEL="loud")
    refused = stack.auteur("up")
    assert refused.returncode == 2
    assert refused.stderr == "error: AUTEUR_LOG__LEVEL should be 'debug', 'info', 'warning' or 'error'\n"
    stack.layout.config.write_text("kept")
    assert stack.auteur("runners", "remove", "../config").returncode == 4
    assert stack.layout.config.read_text() == "kept"


@pytest.mark.parametrize("words", [("up",), ("runners", "add", sys.executable)])
def test_a_data_folder_that_cannot_be_made_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = Stack(tmp_path / "file" / "home").auteur(*words)
    assert refused.returncode == 2
    assert "/file/home cannot be used: Not a directory" in refused.stderr
