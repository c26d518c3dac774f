"""For authors' own tests: run a function in this process, without agent, child or stack.

>>> result = run_function(Flip, {"degrees": 90}, inputs={"image": "cat.png"})  # doctest: +SKIP
>>> result.outputs["image"].read_bytes()  # doctest: +SKIP
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auteur_contracts.names import seed_of
from auteur_contracts.resources import Failure, Progress, Tier
from auteur_contracts.vocabulary import Fault
from auteur_runner import protocol
from auteur_runner.context import SetupContext
from auteur_runner.errors import InvalidRequest, JobCancelled, OutOfMemory, PlatformError
from auteur_runner.execute import execute
from auteur_runner.function import Function, Runner

_UID = "test"


class RunFailed(Exception):
    """The function failed in a way that is neither the user's fault nor the platform's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Result:
    outputs: dict[str, Path]
    """Output field → file; of a field with several files the last. `files` has them all."""
    files: tuple[Path, ...]
    progress: tuple[Progress, ...]
    warnings: tuple[str, ...]
    metrics: dict[str, float]
    previews: tuple[Path, ...]
    log: tuple[str, ...]


def run_function(
    function: type[Function] | Function,
    params: Mapping[str, Any] | None = None,
    *,
    inputs: Mapping[str, str | Path] | None = None,
    seed: int | None = None,
    tier: Tier | None = None,
    folder: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Result:
    """Set up (an instance is taken as it is) and run once. Raises what the user of the function would be told:
    InvalidRequest, OutOfMemory, PlatformError, RunFailed; JobCancelled when `cancelled` became true.
    """
    kind = function if isinstance(function, type) else type(function)
    tier = tier or Runner.of(kind).tiers[0].planned
    heard: list[protocol.Up] = []
    if isinstance(function, type):
        function = function()
        function.setup(SetupContext(heard.append, cancelled, tier))
    order = protocol.Run(
        function=kind.name,
        params=dict(params or {}),
        inputs={name: str(path) for name, path in (inputs or {}).items()},
        seed=seed_of(_UID) if seed is None else seed,
        tier=tier,
        folder=str(folder or tempfile.mkdtemp(prefix="auteur-run-")),
        uid=_UID,
        attempt=1,
    )
    match execute(function, order, heard.append, cancelled):
        case protocol.Succeeded(outputs=outputs):
            return _result(outputs, heard)
        case protocol.Failed(failure=failure):
            raise _error(failure)
        case protocol.Cancelled():
            raise JobCancelled


def cancel_after(steps: int) -> Callable[[], bool]:
    """For `cancelled=`: false at the first `steps` looks (one a step, one a phase, two around `run`), then true."""
    looks = iter(range(steps))
    return lambda: next(looks, None) is None


def _result(outputs: tuple[protocol.OutputFile, ...], heard: list[protocol.Up]) -> Result:
    return Result(
        outputs={output.field: Path(output.file) for output in outputs},
        files=tuple(Path(output.file) for output in outputs),
        progress=tuple(message.progress for message in heard if isinstance(message, protocol.Progressed)),
        warnings=tuple(message.text for message in heard if isinstance(message, protocol.Warned)),
        metrics={message.name: message.value for message in heard if isinstance(message, protocol.Metric)},
        previews=tuple(Path(message.file) for message in heard if isinstance(message, protocol.Previewed)),
        log=tuple(message.line for message in heard if isinstance(message, protocol.Log)),
    )


def _error(failure: Failure) -> Exception:
    match failure:
        case Failure(fault=Fault.USER):
            return InvalidRequest(failure.message, reason=failure.reason)
        case Failure(fault=Fault.PLATFORM):
            return PlatformError(failure.message)
        case Failure(reason="OutOfMemory"):
            return OutOfMemory(failure.message)
        case _:
            return RunFailed(failure)
