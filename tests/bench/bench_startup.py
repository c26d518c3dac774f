"""`auteur up` → ready, and → the first picture of the embedded model, on a home folder that is new; beside each part of
the stack started alone, and beside a bare script that imports, loads and draws.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from auteur_kit.settings import read_settings
from auteur_standalone import servers, stack
from auteur_standalone.layout import Layout
from auteur_standalone.settings import Settings
from auteur_standalone.supervisor import prepare, probe_of
from tests.bench.bare_picture import PROMPT, SEED
from tests.bench.table import Figure, show
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess
from tests.support.stack import AUTEUR, CHECKOUT, Stack
from tests.support.waiting import wait_for

_ENVIRONMENTS = CHECKOUT / ".auteur" / "envs"
_RUNNER_PYTHON = _ENVIRONMENTS / "diffusion" / "bin" / "python"
_MODEL = CHECKOUT / "images/runners/diffusion/auteur_diffusion/models/diffusion-tiny"
_ASK = {"function": "text-to-image", "params": {"prompt": PROMPT, "seed": SEED}}
_PATIENCE = 300.0


def parts_alone(home: Path) -> dict[str, float]:
    """Seconds until each part of the stack answers, started one after the other, as the supervisor starts it."""
    machine = prepare(Layout(home), read_settings(Settings), os.environ, free_ports(1)[0]).machine
    theirs = stack.backing_services(machine, servers.find_binary("nats-server"), servers.find_binary("weed"))
    gateway, engine = stack.programs(machine)
    took = {}
    with ExitStack() as running:
        for part in (*theirs, engine, gateway):
            server = _alone(part, machine)
            running.callback(server.stop)
            began = time.monotonic()
            server.start()
            took[part.name] = time.monotonic() - began
    return took


async def _answered(probe: Callable[[], Awaitable[bool]]) -> bool:
    return await probe()


def _alone(part: stack.Part, machine: stack.Machine) -> ServerProcess:
    log, probe = machine.layout.log(part.name), probe_of(part, machine.config)

    def answers() -> bool:
        return asyncio.run(_answered(probe)) if probe is not None else "engine ready" in log.read_text()

    return ServerProcess(part.name, part.argv, log, answers, env=dict(part.env))


@dataclass(frozen=True)
class Start:
    """Seconds from `auteur up`."""

    ready: float
    """The gateway takes requests."""
    told: float
    """The command says so: it also knows of all runners."""
    picture: float


def start(home: Path) -> Start:
    """As after `make dev`: nothing is running, nothing is known, the runners' environments are there. The picture is
    asked for as soon as anybody could.
    """
    made = Stack(home, AUTEUR_STANDALONE__DISCOVER="true", AUTEUR_STANDALONE__ENVIRONMENTS=str(_ENVIRONMENTS))
    try:
        began = time.monotonic()
        command = subprocess.Popen((AUTEUR, "up"), env=made.environment, cwd=CHECKOUT, stdout=subprocess.DEVNULL)

        def is_ready() -> bool:
            assert command.poll() in (None, 0), f"auteur up failed\n{made.logs()}"
            return made.layout.address.exists() and made.ready()

        wait_for(is_ready, "the stack", seconds=_PATIENCE)
        ready = time.monotonic() - began
        _, job = wait_for(lambda: _accepted(made), "a picture to be accepted", seconds=_PATIENCE)
        assert command.wait(_PATIENCE) == 0, made.logs()
        told = time.monotonic() - began
        ended = made.finished(job["job_id"], seconds=_PATIENCE)
        assert ended["status"] == "done", ended
        return Start(ready, told, time.monotonic() - began)
    finally:
        made.end()


def _accepted(made: Stack) -> tuple[int, dict[str, str]] | None:
    answer = made.call("POST", "/v1/generations", _ASK)
    return answer if answer[0] == 202 else None


def bare_picture(folder: Path) -> float:
    """Seconds of a script in the runner's environment."""
    script = Path(__file__).with_name("bare_picture.py")
    began = time.monotonic()
    subprocess.run((_RUNNER_PYTHON, script, _MODEL, folder / "bare.png"), check=True)
    return time.monotonic() - began


def main(runs: int) -> int:
    if not _RUNNER_PYTHON.is_file():
        sys.stderr.write("error: the runner diffusion is not installed; install it with: make dev\n")
        return 2
    # As on a person's machine: what is imported was compiled once, and not by each of the processes measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parts: dict[str, list[float]] = {}
    starts: list[Start] = []
    bare: list[float] = []
    for run in range(-1, runs):  # the first fills the page cache and the folders of bytecode, and is forgotten
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            alone, script, started = parts_alone(home / "alone"), bare_picture(home), start(home / "home")
        if run >= 0:
            for name, seconds in alone.items():
                parts.setdefault(name, []).append(seconds)
            starts.append(started)
            bare.append(script)
    slowest = max(parts, key=lambda name: median(parts[name]))
    picture = median(start.picture for start in starts)
    show(
        f"from `auteur up` on a new home folder, median of {runs}",
        [
            Figure(
                "/readyz",
                median(start.ready for start in starts),
                "s",
                1.3,
                floor=median(parts[slowest]),
                note=f"floor: {slowest} alone",
            ),
            *(Figure(f"… {name} alone", median(seconds), "s") for name, seconds in parts.items()),
            Figure("the command says so", median(start.told for start in starts), "s", note="runners known"),
            Figure("first picture", picture, "s", 1.2, floor=median(bare), note="floor: a script in its environment"),
        ],
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    sys.exit(main(parser.parse_args().runs))
