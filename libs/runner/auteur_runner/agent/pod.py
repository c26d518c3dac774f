"""What an agent shows its kubelet: a file that is there while it serves, and the last word of a pod of one attempt."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from auteur_contracts.orders import TerminationMessage, WorkerState
from auteur_kit.logs import get_logger
from auteur_runner.agent import termination

log = get_logger()
_SERVING = (WorkerState.READY, WorkerState.BUSY)


@dataclass(frozen=True)
class Pod:
    """None: nobody looks there."""

    ready_file: Path | None = None
    termination_log: Path | None = None

    def show(self, state: WorkerState) -> None:
        """For a readiness probe."""
        if self.ready_file is None:
            return
        with contextlib.suppress(OSError):  # a probe that fails is what a full disk deserves
            if state in _SERVING:
                self.ready_file.write_text(f"{state}\n")
            else:
                self.ready_file.unlink(missing_ok=True)

    def leave(self, word: TerminationMessage) -> None:
        """Overwritten in place: the kubelet has mounted this very file."""
        if self.termination_log is None:
            return
        try:
            self.termination_log.write_bytes(termination.spell(word))
        except OSError as error:
            log.warning("termination message not written", path=str(self.termination_log), error=str(error))
