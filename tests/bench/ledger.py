"""When functions were entered, as they note it themselves (`tests.support.echo`): how late we look is no matter."""

import time
from pathlib import Path

_PATIENCE = 60.0


def entries(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []


def await_entry(ledger: Path, already: int) -> int:
    """Nanoseconds at which the first one after `already` entries was entered."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        lines = entries(ledger)
        if len(lines) > already:
            return int(lines[-1].split()[2])
        time.sleep(0.002)
    raise AssertionError(f"the job did not run within {_PATIENCE:.0f} s")
