"""What the supervisor says of itself, in a file that `up`, `status` and `server-logs` read."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class PartState(StrEnum):
    WAITING = "waiting"
    """It has not been started yet."""
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILING = "failing"
    """It exits right after each start; `message` has the last lines of its log."""
    STOPPED = "stopped"
    EXTERNAL = "external"
    """An external server, named by its URL."""


class PartReport(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    state: PartState
    pid: int = 0
    address: str = ""
    restarts: int = 0
    since: float = 0
    """Unix time of its last start."""
    message: str = ""


class StackState(BaseModel):
    model_config = ConfigDict(frozen=True)

    pid: int
    """The supervisor's process."""
    url: str
    started: float
    services_only: bool = False
    """Only NATS, the store and the engine run; gateway and workers are run in a terminal, by `auteur exec`."""
    notes: tuple[str, ...] = ()
    """What a person should know: another port than usual, a runner that could not be read."""
    parts: tuple[PartReport, ...] = ()
    runners: tuple[str, ...] = ()
    """Registered ones, whether this machine can serve them or not."""
    pending: str = ""
    """What the stack waits for before it is complete, for people. Empty: all places were looked into, and `runners`
    names all that were found."""

    def part(self, name: str) -> PartReport | None:
        return next((part for part in self.parts if part.name == name), None)


def write(path: Path, state: StackState) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(state.model_dump_json(indent=2))
    draft.replace(path)


def read(path: Path) -> StackState | None:
    try:
        return StackState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
