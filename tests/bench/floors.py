"""Starts what benches are measured against: bare programs on servers of their own, on loopback."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from auteur_kit.settings import NatsSettings
from tests.bench.bare_chain import READY
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess, nats_server

_ROOT = Path(__file__).parents[2]


def program(module: str, *words: str, log: Path, port: int = 0, env: dict[str, str] | None = None) -> ServerProcess:
    """`python -m module`, not yet started; ready when it answers on `port`, or says so where it has none."""

    def answers() -> bool:
        if not port:
            return READY in log.read_text().splitlines()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez").status_code < 500
        except httpx.TransportError:
            return False

    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    argv = (sys.executable, "-m", module, *words)
    return ServerProcess(module, argv, log, answers, env={"PYTHONPATH": path, **(env or {})})


@contextlib.contextmanager
def started(*servers: ServerProcess) -> Iterator[None]:
    """One after the other; stopped in the other order, whatever happens."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        yield


@contextlib.contextmanager
def bare_gateway(folder: Path) -> Iterator[str]:
    """Its URL: requests are committed, and nobody hears of them."""
    folder.mkdir()
    (port,) = free_ports(1)
    with started(_bare("gateway", folder, port)):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def bare_chain(folder: Path, ledger: Path | None = None) -> Iterator[str]:
    """The URL of its gateway; what a request comes to is a line in `ledger`. Without one it ends at the engine."""
    folder.mkdir()
    server, nats = nats_server(folder / "nats")
    (port,) = free_ports(1)
    bus = _bus(nats)
    engine = _bare("engine", folder, 0, *bus, *(("--orders",) if ledger else ()))
    worker = (bare_worker(folder, nats, ledger),) if ledger else ()
    with started(server, engine, *worker, _bare("gateway", folder, port, *bus)):
        yield f"http://127.0.0.1:{port}"


def bare_worker(folder: Path, nats: NatsSettings, ledger: Path) -> ServerProcess:
    """Not yet started."""
    return _bare("worker", folder, 0, *_bus(nats), "--ledger", str(ledger))


def _bus(nats: NatsSettings) -> tuple[str, ...]:
    return ("--nats", nats.url, "--user", nats.user, "--password", nats.password.get_secret_value())


def _bare(role: str, folder: Path, port: int, *words: str) -> ServerProcess:
    own = ("--database", str(folder / f"{role}.db"), "--port", str(port))
    return program("tests.bench.bare_chain", role, *own, *words, log=folder / f"{role}.log", port=port)
