"""Client send → `run()` entered, on an idle stack with a warm worker, beside the bare chain of the same requests and
the same durable writes.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.floors import bare_chain
from tests.bench.ledger import await_entry, entries
from tests.bench.table import Figure, percentile, show
from tests.support.echo import LEDGER
from tests.support.stack import running

_ROUNDS = 4


def measure(url: str, ledger: Path, jobs: int) -> list[float]:
    """Milliseconds, one for each of `jobs` jobs sent one after the other."""
    took = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(jobs):
            already = len(entries(ledger))
            sent = time.time_ns()
            reply = client.post("/v1/generations", json={"function": "echo", "params": {"text": str(number)}})
            reply.raise_for_status()
            entered = await_entry(ledger, already)
            took.append((entered - sent) / 1e6)
            _await_end(client, reply.json()["status_url"])
    return took


def _await_end(client: httpx.Client, url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if client.get(url).json()["status"] == "done":
            time.sleep(0.05)  # the worker says that it is ready again: idle is what we measure
            return
        time.sleep(0.01)
    raise AssertionError(f"{url} did not end within 30 s")


def main(jobs: int) -> None:
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        our_ledger, bare_ledger = Path(folder) / "ours", Path(folder) / "bare"
        chain = bare_chain(Path(folder) / "chain", bare_ledger)
        with running(Path(folder) / "home", **{LEDGER: str(our_ledger)}) as stack, chain as bare_url:
            stack.add_echo()
            stack.wait_until_ready("echo")
            measure(stack.url, our_ledger, 10)
            measure(bare_url, bare_ledger, 10)
            for _ in range(_ROUNDS):  # in turns: what else the machine does falls on both
                ours += measure(stack.url, our_ledger, jobs // _ROUNDS)
                bare += measure(bare_url, bare_ledger, jobs // _ROUNDS)
    show(
        f"client send → run() entered ({len(ours)} jobs, one at a time); floor: the bare chain",
        [
            Figure("p50", statistics.median(ours), "ms", 1.5, floor=statistics.median(bare)),
            Figure("p90", percentile(ours, 0.9), "ms", floor=percentile(bare, 0.9)),
            Figure("p99", percentile(ours, 0.99), "ms", floor=percentile(bare, 0.99)),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    main(parser.parse_args().jobs)
