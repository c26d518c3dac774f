"""Runners that are registered on this machine: one FunctionRunner a file, with the command that starts its function."""

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from auteur_contracts.names import GROUP
from auteur_contracts.resources import FunctionRunner
from auteur_standalone.layout import Layout

ANNOTATION_DIRECTORY = f"{GROUP}/directory"
"""Where a runner lives that is not installed: its function's process starts there."""
ANNOTATION_ORIGIN = f"{GROUP}/origin"
ANNOTATION_REGISTERED = f"{GROUP}/registered"
"""When a person registered it. The same words at another time may mean other code: its workers are started anew."""


class Origin(StrEnum):
    ADDED = "added"
    """A person registered it: `auteur runners add`."""
    FOUND = "found"
    """In an environment that the stack looks into by itself."""


@dataclass(frozen=True)
class Launch:
    """How a function's process is started."""

    python: str
    target: str
    directory: Path | None = None


@dataclass(frozen=True)
class Registered:
    runner: FunctionRunner
    launch: Launch
    origin: Origin

    @property
    def name(self) -> str:
        return self.runner.metadata.name


def to_command(launch: Launch) -> tuple[str, ...]:
    return (launch.python, "-m", "auteur_runner", "child", launch.target)


def _launch_of(runner: FunctionRunner) -> Launch:
    match runner.spec.command:
        case (python, "-m", "auteur_runner", "child", target):
            directory = runner.metadata.annotations.get(ANNOTATION_DIRECTORY)
            return Launch(python, target, Path(directory) if directory else None)
        case other:
            raise ValueError(f"its command is {' '.join(other) or 'empty'}; register it anew: auteur runners add")


def registered(
    described: FunctionRunner, launch: Launch, origin: Origin, *, workers: int | None = None, at: str = ""
) -> Registered:
    """A runner as its own environment describes it, made startable here. `at` is when a person asked for it."""
    annotations = dict(described.metadata.annotations) | {ANNOTATION_ORIGIN: origin.value}
    if at:
        annotations[ANNOTATION_REGISTERED] = at
    if launch.directory is not None:
        annotations[ANNOTATION_DIRECTORY] = str(launch.directory)
    metadata = described.metadata.model_copy(update={"annotations": annotations})
    spec = described.spec.model_copy(
        update={"command": to_command(launch), "workers": workers or described.spec.workers}
    )
    return Registered(described.model_copy(update={"metadata": metadata, "spec": spec}), launch, origin)


def parse(text: bytes) -> Registered:
    """Raises ValueError."""
    runner = FunctionRunner.model_validate_json(text)
    origin = runner.metadata.annotations.get(ANNOTATION_ORIGIN, Origin.ADDED.value)
    return Registered(runner, _launch_of(runner), Origin(origin))


def _text(entry: Registered) -> bytes:
    return entry.runner.model_dump_json(indent=2, exclude={"status"}, exclude_none=True).encode()


def digest(entry: Registered) -> str:
    return hashlib.sha256(_text(entry)).hexdigest()


def write(layout: Layout, entry: Registered) -> bool:
    """Whether that changed anything: what watches the folder looks at times of change."""
    path = layout.runner(entry.name)
    text = _text(entry)
    try:
        if path.read_bytes() == text:
            return False
    except OSError:
        pass
    draft = path.with_suffix(f".{os.getpid()}.new")
    draft.write_bytes(text)
    draft.replace(path)
    return True


@dataclass(frozen=True)
class Unreadable:
    name: str
    why: str


def read_all(layout: Layout) -> tuple[list[Registered], list[Unreadable]]:
    """All registered runners, in the order of their names."""
    found: list[Registered] = []
    unreadable: list[Unreadable] = []
    for path in sorted(layout.runners.glob("*.json")):
        try:
            found.append(parse(path.read_bytes()))
        except FileNotFoundError:
            continue
        except (OSError, ValidationError, ValueError) as error:
            unreadable.append(Unreadable(path.stem, str(error).splitlines()[0]))
    return found, unreadable
