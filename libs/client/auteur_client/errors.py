"""What the server's refusals and the network's failures become: errors of the one tree in contracts.

Unreachable      nothing answers, or not in time; the request may be tried again
FinishTimeout    a wait's own limit passed
"""

from dataclasses import dataclass
from http import HTTPStatus

from pydantic import Field, ValidationError

from auteur_contracts.errors import (
    HTTP_STATUS,
    AuteurError,
    Busy,
    Code,
    Conflict,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from auteur_contracts.model import JsonObject
from auteur_contracts.web.model import Reply


class Unreachable(Unavailable):
    """Nothing answers at the server's address."""


class FinishTimeout(AuteurError):
    """A job did not finish within the time the caller gave it. The job goes on."""

    default_code = Code.UNAVAILABLE


class _Body(Reply):
    """`ErrorBody` with the code as text: a newer server may know codes that we do not."""

    code: str
    message: str
    details: JsonObject = Field(default_factory=dict)


class _Reply(Reply):
    error: _Body
    request_id: str = ""


@dataclass(frozen=True)
class Refusal:
    """An answer that is not a success, as it came."""

    status: int
    body: bytes
    url: str
    request_id: str = ""
    """From the header, for answers without a body of ours."""
    retry_after: float | None = None
    """Seconds after which to ask again, by its header."""


_CLASSES: dict[int, type[AuteurError]] = {
    400: InvalidRequest,
    401: AuteurError,
    403: AuteurError,
    404: NotFound,
    405: InvalidRequest,
    409: Conflict,
    410: NotFound,
    413: InvalidRequest,
    422: InvalidRequest,
    429: Busy,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}

_CODES: dict[int, Code] = {
    **{status: code for code, status in reversed(HTTP_STATUS.items())},
    502: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
"""The first code of each status in the table, for answers that name none we know."""


def error_of(refusal: Refusal) -> AuteurError:
    """The typed error of an answer that is not a success, whoever gave it: our server, or a proxy before it."""
    status = refusal.status
    try:
        reply = _Reply.model_validate_json(refusal.body)
    except ValidationError:
        reply = _Reply(error=_Body(code="", message=_foreign_message(refusal)), request_id=refusal.request_id)
    known = reply.error.code in {code.value for code in Code}
    code = Code(reply.error.code) if known else _CODES.get(status, Code.INTERNAL)
    error = _CLASSES.get(status, AuteurError)(reply.error.message, code=code)
    error.details = reply.error.details
    error.request_id = reply.request_id or refusal.request_id
    error.retry_after = refusal.retry_after
    return error


def _foreign_message(refusal: Refusal) -> str:
    try:
        phrase = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
    except ValueError:
        phrase = str(refusal.status)
    return f"{refusal.url} answered {phrase}, not in Auteur's form: is this the address of an Auteur server?"
