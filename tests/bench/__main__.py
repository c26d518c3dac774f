"""`python -m tests.bench [NAME…]`: all benches, or those whose names are given, one after the other."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(chosen: list[str]) -> int:
    """The worst exit status of them all."""
    known = sorted(file.stem.removeprefix("bench_") for file in FOLDER.glob("bench_*.py"))
    if unknown := set(chosen) - set(known):
        sys.stderr.write(f"error: no bench {', '.join(sorted(unknown))}; there are: {', '.join(known)}\n")
        return 2
    return max(
        subprocess.run(
            [sys.executable, "-m", f"tests.bench.bench_{name}"], cwd=FOLDER.parents[1], check=False
        ).returncode
        for name in chosen or known
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
