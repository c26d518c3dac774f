"""20,000 fast jobs: the last thousand must be as quick as the first, and memory must not grow with history."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.table import Figure, show
from tests.support.stack import Stack, cpu_seconds, resident_bytes, running

_BATCH = 1000
_CLIENTS = 16
_PARTS = ("gateway", "engine")


async def run_batch(stack: Stack, first: int, count: int) -> float:
    """Seconds from the first submit of `count` jobs to the end of the last."""
    began = time.monotonic()
    gate = asyncio.Semaphore(_CLIENTS)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client:

        async def one(number: int) -> None:
            async with gate:
                reply = await client.post("/v1/generations", json={"function": "echo", "name": f"soak-{number}"})
                reply.raise_for_status()

        await asyncio.gather(*(one(number) for number in range(first, first + count)))
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            unfinished = 0
            for state in ("queued", "running"):
                reply = await client.get("/v1/generations", params={"status": state, "limit": 1})
                unfinished += len(reply.json()["items"])
            if not unfinished:
                return time.monotonic() - began
            await asyncio.sleep(0.02)
    raise AssertionError("a batch did not end within 300 s")


def main(jobs: int, workers: int) -> None:
    seconds: list[float] = []
    cpu: list[dict[str, float]] = []
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "AUTEUR_GATEWAY__QUEUE_LIMIT": "2000",
            "AUTEUR_ENGINE__MAX_ACTIVE": "16",
            "AUTEUR_LOG__LEVEL": "warning",
        }
        with running(Path(folder) / "home", **settings) as stack:
            stack.add_echo(workers=workers)
            stack.wait_until_ready("echo")
            pids = {part: stack.pid_of(part) for part in _PARTS}
            everybody = {part.name: part.pid for part in stack.state.parts if part.pid}
            for first in range(0, jobs, _BATCH):
                before = {part: cpu_seconds(pid) for part, pid in everybody.items()}
                seconds.append(asyncio.run(run_batch(stack, first, min(_BATCH, jobs - first))))
                cpu.append({part: cpu_seconds(pid) - before[part] for part, pid in everybody.items()})
                if first + _BATCH == 2 * _BATCH:
                    memory = {part: resident_bytes(pid) for part, pid in pids.items()}
            grown = {part: (resident_bytes(pid) - memory.get(part, 0)) / 1024**2 for part, pid in pids.items()}
    show(
        f"soak: {jobs:,} jobs in batches of {_BATCH:,}, {workers} workers; floor: the first 1,000",
        [
            Figure("the last 1,000", seconds[-1], "s", 1.2, floor=seconds[0]),
            Figure("jobs a second, overall", jobs / sum(seconds), "1/s", note="submit to end, one machine"),
            *(
                Figure(f"CPU of {part}, the last", 1000 * cpu[-1][part] / _BATCH, "ms/job", floor=1000 * one / _BATCH)
                for part, one in cpu[0].items()
            ),
            *(Figure(f"RSS of {part} after the first 2,000", grown[part], "MiB more", 20) for part in _PARTS),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.jobs, arguments.workers)
