"""What a kubelet reads of an agent: a readiness file, and the termination message of a pod that serves one order."""

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
    """Where the two files are; None where no kubelet reads them."""

    ready_file: Path | None = None
    termination_log: Path | None = None

    def write_readiness(self, state: WorkerState) -> None:
        """For a readiness probe."""
        if self.ready_file is None:
            return
        with contextlib.suppress(OSError):  # on a full disk the probe fails, which is right
            if state in _SERVING:
                self.ready_file.write_text(f"{state}\n")
            else:
                self.ready_file.unlink(missing_ok=True)

    def write_termination_message(self, message: TerminationMessage) -> None:
        """Overwritten in place: the kubelet has mounted this very file."""
        if self.termination_log is None:
            return
        try:
            self.termination_log.write_bytes(termination.to_bytes(message))
        except OSError as error:
            log.warning("termination message not written", path=str(self.termination_log), error=str(error))
