"""A whole studio of the test's own, started as a person starts it: `auteur up` in a home folder, then `auteur down`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
ECHO = ROOT / "tests" / "support" / "echo.py"
_AUTEUR = str(Path(sys.executable).parent / "auteur")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    """Settings beyond the defaults."""
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def auteur(self, *arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the command line against this home. Raises with everything it said when it fails."""
        environment = {**os.environ, **self.environment, "AUTEUR_HOME": str(self.home), "AUTEUR_SERVER": self.url}
        done = subprocess.run(
            [_AUTEUR, *arguments],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"auteur {' '.join(arguments)} → {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def up(self) -> float:
        """Seconds until `auteur up` returned, which is when the studio is ready."""
        began = time.monotonic()
        try:
            self.auteur("up", "--port", str(self.port))
        except AssertionError:
            self.down()
            raise
        return time.monotonic() - began

    def down(self) -> None:
        self.auteur("down", check=False)

    def add_echo(self, *, workers: int = 1) -> None:
        self.auteur("runners", "add", sys.executable, str(ECHO), "--workers", str(workers))
        self.wait_until_ready("echo")

    def wait_until_ready(self, function: str, *, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        with httpx.Client(base_url=self.url, timeout=10) as client:
            while time.monotonic() < deadline:
                reply = client.get("/v1/functions")
                items = reply.json().get("items", []) if reply.status_code == 200 else []
                if any(item["name"] == function and item["ready"] for item in items):
                    return
                time.sleep(0.1)
        raise AssertionError(f"{function} did not become ready within {seconds:.0f} s")

    def status(self) -> dict[str, Any]:
        """What `auteur status` knows: its parts with their pids."""
        return dict(json.loads(self.auteur("status", "-o", "json", check=False).stdout))

    def pid_of(self, part: str) -> int | None:
        """The process of a part (`nats`, `store`, `gateway`, `engine`, `runner-…`) or of the supervisor; None without."""
        told = self.status()
        if part == "supervisor":
            return told["pid"]
        for found in told["parts"]:
            if found["name"] == part and found.get("pid"):
                return int(found["pid"])
        return None


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """The direct children of a process, as Linux tells them."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def resident_bytes(pid: int) -> int:
    """Resident memory of a process (`VmRSS`)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def running(home: Path, **environment: str) -> Iterator[Stack]:
    stack = Stack(home, dict(environment))
    stack.up()
    try:
        yield stack
    finally:
        stack.down()
