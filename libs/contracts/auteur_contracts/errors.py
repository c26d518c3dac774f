"""Errors on the wire: one table of codes, one shape.

AuteurError                      every error of ours: a stable code, facts in fields
├── InvalidRequest   422         the request is understood and wrong; `details.field` names what
├── NotFound         404         says what was looked for
├── Conflict         409         the name or state is taken
├── Busy             429         the queue is full
└── Unavailable      503         a part of the platform is away; try again
"""

from enum import StrEnum
from typing import Any

from pydantic import Field

from auteur_contracts.model import JsonObject, TolerantModel


class Code(StrEnum):
    BAD_REQUEST = "bad_request"
    INVALID_REQUEST = "invalid_request"
    INVALID_PARAMETER = "invalid_parameter"
    INVALID_INPUT = "invalid_input"
    UNKNOWN_FUNCTION = "unknown_function"
    UNKNOWN_RUNNER = "unknown_runner"
    TIER_NOT_OFFERED = "tier_not_offered"
    NOT_SUPPORTED = "not_supported"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NAME_TAKEN = "name_taken"
    IMMUTABLE = "immutable"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    NOT_FINISHED = "not_finished"
    ALREADY_FINISHED = "already_finished"
    GONE = "gone"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    UNAVAILABLE = "unavailable"
    CATALOGUE_EMPTY = "catalogue_empty"
    INTERNAL = "internal"


HTTP_STATUS: dict[Code, int] = {
    Code.BAD_REQUEST: 400,
    Code.INVALID_REQUEST: 422,
    Code.INVALID_PARAMETER: 422,
    Code.INVALID_INPUT: 422,
    Code.UNKNOWN_FUNCTION: 422,
    Code.UNKNOWN_RUNNER: 422,
    Code.TIER_NOT_OFFERED: 422,
    Code.NOT_SUPPORTED: 422,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NAME_TAKEN: 409,
    Code.IMMUTABLE: 409,
    Code.IDEMPOTENCY_MISMATCH: 409,
    Code.NOT_FINISHED: 409,
    Code.ALREADY_FINISHED: 409,
    Code.GONE: 410,
    Code.TOO_LARGE: 413,
    Code.QUEUE_FULL: 429,
    Code.UNAVAILABLE: 503,
    Code.CATALOGUE_EMPTY: 503,
    Code.INTERNAL: 500,
}


RETRY_AFTER: dict[Code, float] = {Code.QUEUE_FULL: 5, Code.UNAVAILABLE: 2, Code.CATALOGUE_EMPTY: 2}
"""Seconds after which the same request may succeed, where waiting helps at all."""


class ErrorBody(TolerantModel):
    code: Code
    message: str
    details: JsonObject = Field(default_factory=dict)


class AuteurError(Exception):
    """Base of every error that crosses a boundary of ours."""

    default_code = Code.INTERNAL
    request_id = ""
    """Of the HTTP request that was refused; what to look for in the server's log."""
    retry_after: float | None
    """Seconds after which the same request may succeed; None where waiting does not help."""

    def __init__(self, message: str, *, code: Code | None = None, **details: Any) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.details = details
        self.retry_after = RETRY_AFTER.get(self.code)

    @property
    def status(self) -> int:
        return HTTP_STATUS[self.code]


class InvalidRequest(AuteurError):
    default_code = Code.INVALID_REQUEST


class NotFound(AuteurError):
    default_code = Code.NOT_FOUND


class Conflict(AuteurError):
    default_code = Code.NAME_TAKEN


class Busy(AuteurError):
    default_code = Code.QUEUE_FULL


class Unavailable(AuteurError):
    default_code = Code.UNAVAILABLE
