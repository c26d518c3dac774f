"""What can go wrong in a function, as its author raises it, and how any exception becomes one Failure record.

Exception
├── InvalidRequest    the user's fault: never tried again; `field` names the parameter or input
├── OutOfMemory       the function's fault: the process is started anew
├── PlatformError     the platform's fault: tried again
└── anything else     the function's fault; the record names file and line
BaseException
└── JobCancelled      not an Exception, so that an author's `except Exception` does not swallow a cancel
"""

import difflib
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from auteur_contracts.resources import Failure
from auteur_contracts.vocabulary import Fault, Reason
from auteur_runner.sanitize import sanitize


class InvalidRequest(Exception):
    """What was asked for cannot be done, and asking again will not help."""

    def __init__(self, message: str, *, field: str = "", reason: Reason = Reason.INVALID_REQUEST) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason


class OutOfMemory(Exception):
    """The model does not fit. Step down inside `run` where that is possible; raise this where it is not."""


class PlatformError(Exception):
    """Something around the function is away (a mount, a licence server): another attempt may succeed."""


class AuthoringError(Exception):
    """A function is declared wrongly: a mistake in the code, found before any job runs."""


class JobCancelled(BaseException):
    """The job was cancelled. Let it pass, or clean up in `finally`."""


_POISONED = ("CUDA error", "CUBLAS", "CUDNN_STATUS", "device-side assert")
"""After one of these every later CUDA call of the process fails as well."""


def failure_of(error: BaseException, *, log_tail: Sequence[str] = ()) -> Failure:
    """The record of an exception that left a function's `setup` or `run`."""
    match error:
        case InvalidRequest():
            message = f"{error.field}: {error.message}" if error.field else error.message
            return _record(Fault.USER, error.reason, message)
        case PlatformError():
            return _record(Fault.PLATFORM, Reason.PLATFORM_FAILED, str(error), log_tail=log_tail)
        case _ if _is_out_of_memory(error):
            return _record(
                Fault.FUNCTION,
                Reason.OUT_OF_MEMORY,
                f"Out of memory: {_summary(error)}",
                remedy="Ask for a lower quality or a smaller size.",
                log_tail=log_tail,
                recycle=True,
            )
        case AuthoringError():
            return _record(Fault.FUNCTION, Reason.FUNCTION_FAILED, str(error), log_tail=log_tail)
        case _:
            message = f"{_summary(error)} ({where(error)})"
            poisoned = any(mark in message for mark in _POISONED)
            return _record(Fault.FUNCTION, Reason.FUNCTION_FAILED, message, log_tail=log_tail, recycle=poisoned)


def where(error: BaseException) -> str:
    """File and line of the last frame that is the author's own: not of a library, not of this SDK."""
    frames = traceback.extract_tb(error.__traceback__)
    sdk = str(Path(__file__).parent)
    own = [frame for frame in frames if "site-packages" not in frame.filename and not frame.filename.startswith(sdk)]
    for frame in reversed(own or frames):
        return f"{Path(frame.filename).name}, line {frame.lineno}"
    return "no traceback"


def invalid_parameters(error: ValidationError, known: Iterable[str]) -> InvalidRequest:
    """The first mistake in a request's parameters as a sentence; unknown names get a suggestion."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(field, list(known), n=1)
        hint = f'; did you mean "{close[0]}"?' if close else f"; it has {', '.join(known) or 'none'}."
        return InvalidRequest(f'there is no parameter "{field}"{hint}', reason=Reason.INVALID_PARAMETER)
    message = first["msg"].removeprefix("Value error, ")
    return InvalidRequest(message, field=field, reason=Reason.INVALID_PARAMETER)


def _is_out_of_memory(error: BaseException) -> bool:
    """Also recognised by its name, because torch's own class cannot be imported here."""
    return isinstance(error, OutOfMemory | MemoryError) or any(
        base.__name__ == "OutOfMemoryError" for base in type(error).__mro__
    )


def _summary(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"run() called sys.exit({error.code!r})"
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _record(
    fault: Fault,
    reason: Reason,
    message: str,
    *,
    remedy: str = "",
    log_tail: Sequence[str] = (),
    recycle: bool = False,
) -> Failure:
    return Failure(
        fault=fault,
        reason=reason,
        message=sanitize(message, 2048),
        remedy=remedy,
        log_tail=tuple(sanitize(line, 512) for line in log_tail[-20:]),
        recycle=recycle,
    )
