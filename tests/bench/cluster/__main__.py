"""`python -m tests.bench.cluster [NAME…]`: all of them, or those whose names are given."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.cluster import burst, latency, scale, warm
from tests.bench.cluster.rig import Rig, rig
from tests.bench.table import show

_BENCHES = {
    "burst": ("A burst of jobs", burst.bench),
    "latency": ("A steady rate", latency.bench),
    "warm": ("A warm worker", warm.bench),
    "scale": ("Many live jobs", scale.bench),
}


def main(chosen: list[str]) -> int:
    if unknown := set(chosen) - set(_BENCHES):
        sys.stderr.write(f"error: no bench {', '.join(sorted(unknown))}; there are: {', '.join(_BENCHES)}\n")
        return 2
    for name in chosen or _BENCHES:
        title, bench = _BENCHES[name]
        show(title, bench(_fresh))
    return 0


@contextmanager
def _fresh() -> Iterator[Rig]:
    """A control plane of its own: etcd is as empty for the last measurement as for the first."""
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as made:
        yield made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    parser.add_argument("names", nargs="*")
    sys.exit(main(parser.parse_args().names))
