"""Durable submits a second: 202 only after a FULL commit, 32 connections, while the engine takes the jobs over."""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.table import Figure, percentile, show
from tests.bench.wire import post_json
from tests.support.stack import Stack, running

_CONNECTIONS = 32


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


def main(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"AUTEUR_GATEWAY__QUEUE_LIMIT": str(jobs + 1000), "AUTEUR_LOG__LEVEL": "warning"}
        with running(Path(folder) / "home", **settings) as stack:
            stack.add_echo()
            stack.wait_until_ready("echo")
            # One long job keeps the one worker: what is measured is taking jobs, not running them.
            stack.submit(params={"seconds": 3000, "steps": 3000}, deadline="1h")
            asyncio.run(submit(stack.url, 200))
            seconds, took = asyncio.run(submit(stack.url, jobs))
            behind = await_engine(stack)
    show(
        f"{jobs:,} durable submits, {_CONNECTIONS} connections",
        [
            Figure("submits", jobs / seconds, "/s", 500, at_most=False),
            Figure("p50", statistics.median(took), "ms"),
            Figure("p99", percentile(took, 0.99), "ms"),
            Figure("engine behind at the end", behind, "s"),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    main(parser.parse_args().jobs)
