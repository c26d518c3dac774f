"""Durable submits a second: 202 only after a FULL commit, 32 connections, while the engine takes the jobs over; beside
a bare ASGI app that commits the same rows in groups.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.floors import bare_chain, bare_gateway
from tests.bench.table import Figure, percentile, show
from tests.bench.wire import post_json
from tests.support.stack import Stack, running

_CONNECTIONS = 32
_ROUNDS = 2


async def submit(url: str, jobs: int) -> tuple[float, list[float]]:
    """Seconds for all, and milliseconds for each."""
    host = urlsplit(url)
    body = json.dumps({"function": "echo", "params": {"text": "a star"}}).encode()
    took: list[float] = []
    left = iter(range(jobs))

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        for _ in left:
            began = time.perf_counter()
            status, answer = await post_json(reader, writer, "/v1/generations", body)
            took.append((time.perf_counter() - began) * 1000)
            assert status == 202, answer
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
    return time.perf_counter() - began, took


def await_engine(stack: Stack) -> float:
    """Seconds until the engine has accepted every job: until each is known to it by its uid."""
    began = time.monotonic()
    while time.monotonic() < began + 300:
        _, page = stack.call("GET", "/v1/generations?limit=1")
        if page["items"][0]["uid"]:
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError("the engine did not take all jobs within 300 s")


@dataclass
class Submits:
    seconds: float = 0.0
    took: list[float] = field(default_factory=list)

    def run(self, url: str, jobs: int) -> None:
        seconds, took = asyncio.run(submit(url, jobs))
        self.seconds += seconds
        self.took += took

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds


def main(jobs: int) -> None:
    ours, bare, chain = Submits(), Submits(), Submits()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = {"AUTEUR_GATEWAY__QUEUE_LIMIT": str(jobs + 1000), "AUTEUR_LOG__LEVEL": "warning"}
        with (
            running(home / "home", **settings) as stack,
            bare_gateway(home / "bare") as bare_url,
            bare_chain(home / "chain") as chain_url,
        ):
            stack.add_echo()
            stack.wait_until_ready("echo")
            # One long job keeps the one worker: what is measured is taking jobs, not running them.
            stack.submit(params={"seconds": 3000, "steps": 3000}, deadline="1h")
            for url in (bare_url, chain_url, stack.url):
                asyncio.run(submit(url, 200))
            await_engine(stack)
            for _ in range(_ROUNDS):  # in turns, and each with the machine to itself
                bare.run(bare_url, jobs // _ROUNDS)
                chain.run(chain_url, jobs // _ROUNDS)
                ours.run(stack.url, jobs // _ROUNDS)
                behind = await_engine(stack)
    show(
        f"{len(ours.took):,} durable submits, {_CONNECTIONS} connections; floor: a bare ASGI app with group commit",
        [
            Figure("submits", ours.rate, "/s", 0.6, floor=bare.rate, at_most=False),
            Figure(
                "submits, taken over",
                ours.rate,
                "/s",
                floor=chain.rate,
                note="floor: the app publishes, an engine commits",
            ),
            Figure("p50", statistics.median(ours.took), "ms", floor=statistics.median(bare.took)),
            Figure("p99", percentile(ours.took, 0.99), "ms", floor=percentile(bare.took, 0.99)),
            Figure("engine behind at the end", behind, "s"),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    main(parser.parse_args().jobs)
