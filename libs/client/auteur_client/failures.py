"""What an error means at the terminal: an exit code, a sentence and what to do. Pure."""

from dataclasses import dataclass
from http import HTTPStatus

from pydantic import ValidationError
from typer.exceptions import TyperException

from auteur_client.errors import FinishTimeout, Unreachable
from auteur_client.exit_codes import ExitCode
from auteur_contracts.errors import AuteurError, Code


@dataclass(frozen=True)
class Complaint:
    exit: ExitCode
    error: str
    hint: str = ""


_EXITS: dict[Code, ExitCode] = {
    Code.NOT_FOUND: ExitCode.NOT_FOUND,
    Code.GONE: ExitCode.NOT_FOUND,
    Code.UNAVAILABLE: ExitCode.UNREACHABLE,
    Code.CATALOGUE_EMPTY: ExitCode.UNREACHABLE,
    Code.INTERNAL: ExitCode.UNREACHABLE,
}
"""Every other code is a refusal."""

_HINTS: dict[Code, str] = {
    Code.NOT_FOUND: "see what there is: auteur get",
    Code.UNAUTHORIZED: "set AUTEUR_TOKEN to a token of this server",
    Code.FORBIDDEN: "AUTEUR_TOKEN does not allow this",
    Code.QUEUE_FULL: "wait until jobs have finished, or cancel some: auteur get --status queued",
    Code.CATALOGUE_EMPTY: "runners are still starting, or none is registered: auteur functions",
    Code.UNAVAILABLE: "a part of the platform is away; try again in a moment: auteur status",
    Code.UNKNOWN_FUNCTION: "see what there is: auteur functions",
    Code.UNKNOWN_RUNNER: "see what there is: auteur functions",
    Code.TIER_NOT_OFFERED: "see which qualities are ready: auteur functions",
    Code.IMMUTABLE: "give the changed job another name, or delete this one first: auteur delete NAME",
    Code.NAME_TAKEN: "choose another --name, or leave it out",
    Code.ALREADY_FINISHED: "run it again: auteur retry NAME",
    Code.NOT_FINISHED: "wait for it: auteur watch NAME, or stop it: auteur cancel NAME",
}


def exit_code_of_error(error: Exception) -> ExitCode:
    if isinstance(error, FinishTimeout):
        return ExitCode.TIMEOUT
    if isinstance(error, AuteurError):
        return _EXITS.get(error.code, ExitCode.REFUSED)
    return ExitCode.REFUSED if isinstance(error, ValidationError) else ExitCode.UNREACHABLE


def complaint_of(error: AuteurError) -> Complaint:
    """With what led to it, where the server says so, and the request to look for in its log, where it is its fault."""
    message = error.message
    if isinstance(cause := error.details.get("cause"), str):
        message = f"{message} (cause: {cause})"
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and error.request_id:
        message = f"{message} (request {error.request_id})"
    return Complaint(exit_code_of_error(error), message, _hint(error))


def _hint(error: AuteurError) -> str:
    said = error.details.get("hint") or error.details.get("remedy")
    if isinstance(said, str) and said:
        return said
    if isinstance(error, Unreachable):
        return "is it running? start it with: auteur up"
    if isinstance(error, FinishTimeout):
        return "the job goes on; look again: auteur watch NAME"
    hint = _HINTS.get(error.code, "")
    if error.request_id and error.retry_after:  # as the server said, not as a table of ours guesses
        hint = f"{hint} (it says: in {error.retry_after:g} s)".lstrip()
    return hint


def complaint_of_values(error: ValidationError, *, where: str = "") -> Complaint:
    """The first of pydantic's findings, by the path a person wrote."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"] if part != "__root__")
    what = "is not a field here" if first["type"] == "extra_forbidden" else _lowered(first["msg"])
    subject = ": ".join(part for part in (where, path) if part)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return Complaint(ExitCode.REFUSED, f"{subject} {what}{more}" if path else f"{subject}: {what}{more}".lstrip(": "))


def _lowered(message: str) -> str:
    text = message.removeprefix("Value error, ").replace("Input should", "should")
    return text[:1].lower() + text[1:]


def complaint_of_any(error: Exception) -> Complaint:
    """The complaint for any error: Auteur's own, invalid values, wrong usage, and what nobody foresaw."""
    match error:
        case AuteurError():
            return complaint_of(error)
        case ValidationError():
            return complaint_of_values(error)
        case TyperException():
            return Complaint(ExitCode.REFUSED, error.format_message().rstrip("."), _usage_hint(error))
        case _:
            return Complaint(
                ExitCode.UNREACHABLE,
                f"unexpected {type(error).__name__}: {error}",
                "this is a defect of the command; AUTEUR_DEBUG=1 shows where",
            )


def _usage_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else ""
