"""A whole studio on a temporary data folder, driven by the `auteur` command as a person would."""

import json
import os
import signal
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auteur_standalone import config, processes, state
from auteur_standalone.layout import Layout
from auteur_standalone.state import PartReport, PartState, StackState
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

AUTEUR = Path(sysconfig.get_path("scripts")) / "auteur"
CHECKOUT = Path(__file__).parents[2]


class Stack:
    """Not started by itself: call `up`. `end` leaves nothing running."""

    def __init__(self, home: Path, port: int | None = None, **environment: str) -> None:
        self.layout = Layout(home)
        self.port = port or free_ports(1)[0]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AUTEUR_")},
            "AUTEUR_HOME": str(home),
            "AUTEUR_GATEWAY__PORT": str(self.port),
            "AUTEUR_STANDALONE__DISCOVER": "false",
            **environment,
        }

    def auteur(self, *words: str, cwd: Path = CHECKOUT, seconds: float = 90) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            (AUTEUR, *words),
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def up(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Fails the test, with the logs, when the stack does not come up."""
        done = self.auteur("up", *words)
        assert done.returncode == 0, f"auteur up: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def down(self) -> "subprocess.CompletedProcess[str]":
        return self.auteur("down")

    def end(self) -> None:
        self.down()
        assert not self.leftovers(), "processes outlived auteur down"

    def leftovers(self) -> list[int]:
        found = (
            [processes.read_pid_file(path) for path in self.layout.run.glob("*.pid")]
            if self.layout.run.exists()
            else []
        )
        return [pid for pid in found if pid is not None]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """As `auteur`, for what must go well."""
        done = self.auteur(*words)
        assert done.returncode == 0, f"auteur {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def add_echo(self, *, workers: int = 1) -> None:
        self.run("runners", "add", _python(), "tests.support.echo:Echo", "--workers", str(workers))

    def wait_until_ready(self, function: str, *, seconds: float = 90) -> None:
        """Until a worker of the function has made itself ready."""

        def ready() -> bool:
            _, listed = self.call("GET", "/v1/functions")
            items = (listed or {}).get("items", [])
            return any(item["name"] == function and item["ready"] for item in items)

        wait_for(ready, f"{function} to be ready; logs:\n{self.logs()}", seconds=seconds)

    def logs(self) -> str:
        paths = sorted(self.layout.logs.glob("*.log")) if self.layout.logs.exists() else []
        return "\n".join(f"── {path.name}\n{path.read_text()[-1500:]}" for path in paths if path.stem != "store")

    # ── what it says ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def url(self) -> str:
        return self.layout.address.read_text().strip()

    @property
    def state(self) -> StackState:
        return wait_for(lambda: state.read(self.layout.state), "the stack's state")

    @property
    def config(self) -> config.Config:
        found = config.load(self.layout.config)
        assert found is not None
        return found

    def part(self, name: str) -> PartReport:
        found = self.state.part(name)
        assert found is not None, f"there is no part {name}: {self.state}"
        return found

    def pid_of(self, name: str) -> int:
        return self.state.pid if name == "supervisor" else self.part(name).pid

    def kill(self, name: str) -> int:
        """As by kill -9. Returns the process that was."""
        pid = self.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def is_back(self, name: str, killed: int) -> bool:
        part = self.state.part(name)
        return part is not None and part.state is PartState.RUNNING and part.pid not in (0, killed)

    # ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────

    def ready(self) -> bool:
        return self.call("GET", "/readyz")[0] == 200

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON; 0 when nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310  # loopback
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read() or "null")
        except (urllib.error.URLError, OSError):
            return 0, None

    def submit(self, **body: Any) -> str:
        """Accepted, sooner or later; returns the job's name."""
        asked = {"function": "echo"} | body
        _, reply = wait_for(
            lambda: answer if (answer := self.call("POST", "/v1/generations", asked))[0] == 202 else None,
            f"{asked} to be accepted",
        )
        return str(reply["job_id"])

    def finished(self, job: str, *, seconds: float = 60) -> Any:
        """The job, once it is done, failed or cancelled."""

        def look() -> Any:
            status, reply = self.call("GET", f"/v1/generations/{job}")
            return reply if status == 200 and reply["status"] in ("done", "failed", "cancelled") else None

        return wait_for(look, f"job {job} to finish; logs:\n{self.logs()}", seconds=seconds)


@contextmanager
def running(home: Path, **environment: str) -> Iterator[Stack]:
    """Up and ready, and nothing left at the end."""
    stack = Stack(home, None, **environment)
    try:
        stack.up()
        yield stack
    finally:
        stack.end()


def children_of(pid: int) -> list[int]:
    """The direct children of a process, as Linux tells them."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def resident_bytes(pid: int) -> int:
    """Resident memory of a process (`VmRSS` of proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (utime and stime of proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _python() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "python")
