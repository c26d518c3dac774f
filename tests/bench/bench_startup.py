"""`auteur up` → ready, and → the first picture of the embedded model, on a home folder that is new."""

import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.table import Figure, show
from tests.support.stack import CHECKOUT, Stack


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # A new data folder, and the runners' environments of this checkout: what `make up` finds.
        environments = str(CHECKOUT / ".auteur" / "envs")
        found = {"AUTEUR_STANDALONE__DISCOVER": "true", "AUTEUR_STANDALONE__ENVIRONMENTS": environments}
        stack = Stack(Path(folder) / "home", **found)
        began = time.monotonic()
        try:
            stack.up()
            ready = time.monotonic() - began
            stack.wait_until_ready("text-to-image")
            warm = time.monotonic() - began
            with httpx.Client(base_url=stack.url, timeout=30) as client:
                job = client.post("/v1/generations", json={"prompt": "a large red star on a blue background"}).json()
                while (status := client.get(job["status_url"]).json())["status"] not in ("done", "failed"):
                    time.sleep(0.05)
            picture = time.monotonic() - began
        finally:
            stack.end()
    show(
        "from `auteur up`",
        [
            Figure("/readyz", ready, "s", 5),
            Figure("runner ready", warm, "s"),
            Figure(f"first picture ({status['status']})", picture, "s", 30),
        ],
    )


if __name__ == "__main__":
    main()
