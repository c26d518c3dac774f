"""1,000 sockets in 200 projects at 5,000 deliveries a second: the gateway against a bare fan-out in the same run."""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from auteur_contracts.events import Envelope, Progressed
from auteur_contracts.resources import Progress
from auteur_contracts.vocabulary import ApiStatus
from auteur_contracts.web.socket import ProgressMessage
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings
from tests.bench.floors import program, started
from tests.bench.table import Figure, percentile, show
from tests.bench.wire import Socket
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess, nats_server, variables_of

_BURST = 0.01


@dataclass(frozen=True)
class Load:
    sockets: int
    projects: int
    rate: int
    """Deliveries a second."""
    seconds: float

    @property
    def facts_per_second(self) -> float:
        return self.rate * self.projects / self.sockets


def fact(project: int, number: int) -> Envelope:
    return Envelope(
        id=f"{project}-{number}",
        source="bench",
        time=datetime.now(UTC),
        namespace="default",
        project=f"p-{project}",
        name=f"job-{project}",
        uid=f"00000000-0000-4000-8000-{project:012d}",
        data=Progressed(attempt=1, progress=Progress(phase="denoise", fraction=0.4, step=number % 500, steps=500)),
    )


def message(project: int, number: int) -> bytes:
    """What the gateway makes of the same fact."""
    made = ProgressMessage(
        id=f"{project}-{number}",
        project_id=f"p-{project}",
        timestamp=datetime.now(UTC),
        cursor=f"0123456789ab-{number}",
        task_id=f"job-{project}",
        progress=0.4,
        step=number % 500,
        steps=500,
        message="denoise",
        status=ApiStatus.RUNNING,
    )
    return made.model_dump_json().encode()


def publish(nats: NatsSettings, load: Load, *, bare: bool) -> None:
    """In a process of its own; evenly, in bursts of ten milliseconds."""

    async def run() -> None:
        async with Bus.connect(nats, name="publisher") as bus:
            began, sent = time.monotonic(), 0
            while (now := time.monotonic() - began) < load.seconds:
                while sent < now * load.facts_per_second:
                    project = sent % load.projects
                    envelope = fact(project, sent)
                    await bus.say(envelope.nats_subject, message(project, sent) if bare else envelope)
                    sent += 1
                await asyncio.sleep(_BURST)

    uvloop.run(run())


async def make_streams(nats: NatsSettings) -> None:
    """As the control plane does."""
    async with Bus.connect(nats, name="bench", owns_streams=True) as bus:
        await bus.ensure_streams()


async def listen(port: int, nats: NatsSettings, load: Load, *, bare: bool) -> list[float]:
    """Ages of all deliveries, in milliseconds."""
    ages: list[float] = []
    loop = asyncio.get_running_loop()
    sockets = []
    for number in range(load.sockets):
        path = f"/ws/p-{number % load.projects}"
        _, socket = await loop.create_connection(lambda path=path: Socket(path, ages.append), "127.0.0.1", port)  # type: ignore[misc]
        await socket.opened
        sockets.append(socket)
    publisher = multiprocessing.get_context("spawn").Process(target=publish, args=(nats, load), kwargs={"bare": bare})
    publisher.start()
    await asyncio.to_thread(publisher.join)
    await asyncio.sleep(1)  # what is still under way
    for socket in sockets:
        if socket.transport is not None:
            socket.transport.abort()
    return [age * 1000 for age in ages]


def gateway(port: int, nats: NatsSettings, folder: Path) -> ServerProcess:
    env = {
        **variables_of(nats),
        "AUTEUR_STORE__SECRET_KEY": "not-used-here",
        "AUTEUR_GATEWAY__DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'gateway.db'}",
        "AUTEUR_GATEWAY__PORT": str(port),
    }
    return program("auteur_gateway", log=folder / "gateway.log", port=port, env=env)


def bare_fanout(port: int, nats: NatsSettings, folder: Path) -> ServerProcess:
    words = (str(port), nats.url, nats.user, nats.password.get_secret_value())
    return program("tests.bench.bare_fanout", *words, log=folder / "bare.log", port=port)


def main(load: Load) -> None:
    ages: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        server, nats = nats_server(Path(folder) / "nats")
        with started(server):
            asyncio.run(make_streams(nats))
            for bare in (True, False, True, False):  # in turns: what else the machine does falls on both
                (port,) = free_ports(1)
                with started((bare_fanout if bare else gateway)(port, nats, Path(folder))):
                    ages[bare] += uvloop.run(listen(port, nats, load, bare=bare))
    expected = 2 * load.rate * load.seconds
    ours, bare_ages = ages[False], ages[True]
    show(
        f"{load.sockets:,} sockets in {load.projects} projects, {load.rate:,} deliveries/s; floor: a bare fan-out",
        [
            Figure("p99", percentile(ours, 0.99), "ms", 1.25, floor=percentile(bare_ages, 0.99)),
            Figure("p50", statistics.median(ours), "ms", floor=statistics.median(bare_ages)),
            Figure("delivered", 100 * len(ours) / expected, "%", 0.995, 100 * len(bare_ages) / expected, at_most=False),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--projects", type=int, default=200)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    main(Load(asked.sockets, asked.projects, asked.rate, asked.seconds))
