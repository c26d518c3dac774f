"""Client send → `run()` entered, on an idle stack with a warm worker: the price of every durable step in between."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.table import Figure, percentile, show
from tests.support.echo import LEDGER
from tests.support.stack import Stack, running


def measure(stack: Stack, ledger: Path, jobs: int) -> list[float]:
    """Milliseconds, one for each of `jobs` jobs sent one after the other."""
    took = []
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        for number in range(jobs):
            already = _entries(ledger)
            sent = time.time_ns()
            reply = client.post("/v1/generations", json={"function": "echo", "params": {"text": str(number)}})
            reply.raise_for_status()
            entered = _await_entry(ledger, already)
            took.append((entered - sent) / 1e6)
            _await_end(client, reply.json()["status_url"])
    return took


def _entries(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []


def _await_entry(ledger: Path, already: list[str]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = _entries(ledger)
        if len(lines) > len(already):
            return int(lines[-1].split()[2])
        time.sleep(0.002)
    raise AssertionError("the job did not run within 30 s")


def _await_end(client: httpx.Client, url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if client.get(url).json()["status"] == "done":
            time.sleep(0.05)  # the worker says that it is ready again: idle is what we measure
            return
        time.sleep(0.01)
    raise AssertionError(f"{url} did not end within 30 s")


def main(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        with running(Path(folder) / "home", **{LEDGER: str(ledger)}) as stack:
            stack.add_echo()
            stack.wait_until_ready("echo")
            measure(stack, ledger, 10)
            took = measure(stack, ledger, jobs)
    show(
        f"client send → run() entered ({jobs} jobs, one at a time)",
        [
            Figure("p50", statistics.median(took), "ms", 20),
            Figure("p90", percentile(took, 0.9), "ms"),
            Figure("p99", percentile(took, 0.99), "ms"),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    main(parser.parse_args().jobs)
