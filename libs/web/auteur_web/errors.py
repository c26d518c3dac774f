"""Every error leaves in one shape, with its cause and the time after which to try again. What we did not foresee leaves
as 500 and says nothing of our insides; the log has all of it under the same request id.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from auteur_contracts.errors import AuteurError, Code, ErrorBody, InvalidRequest
from auteur_contracts.web.http import ErrorReply
from auteur_kit.clock import utc_now
from auteur_kit.logs import get_logger
from auteur_web.security import UNAUTHORIZED_HEADERS

log = get_logger()
_LONGEST = 400
_MOST_CAUSES = 8


def error_reply(error: AuteurError, request_id: str) -> ErrorReply:
    details = {name: _sayable(value) for name, value in details_of(error).items()}
    return ErrorReply(
        error=ErrorBody(code=error.code, message=_sayable(error.message), details=details),
        request_id=request_id,
        timestamp=utc_now(),
    )


def _sayable(value: Any) -> Any:
    """What somebody sent us is quoted, as far as JSON and terminals can bear it."""
    if not isinstance(value, str):
        return value
    return value.replace("\x00", "�").encode(errors="replace").decode()


def details_of(error: AuteurError) -> dict[str, Any]:
    """What the error says of itself and, where another error of ours led to it, that one's sentence as the cause. What
    libraries say may name hosts and files: it is for the log.
    """
    details = {name: value for name, value in error.details.items() if value is not None}
    ours = next((one.message for one in causes_of(error) if isinstance(one, AuteurError)), None)
    return {"cause": ours, **details} if ours and ours != error.message else details


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to this one, the nearest first."""
    for _ in range(_MOST_CAUSES):
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None:
            return
        yield cause
        error = cause


def error_response(error: AuteurError, request_id: str) -> JSONResponse:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = f"{error.retry_after:.0f}"
    if error.code is Code.UNAUTHORIZED:
        headers |= UNAUTHORIZED_HEADERS
    return JSONResponse(error_reply(error, request_id).model_dump(mode="json"), error.status, headers)


def log_fault(error: AuteurError, **where: str) -> None:
    """What is our fault, or that of a part that is away, with all that led to it. A refusal is the caller's to read."""
    if error.status < 500:
        return
    causes = [f"{type(one).__name__}: {one}"[:_LONGEST] for one in causes_of(error)]
    log.warning("request not served", code=error.code.value, error=error.message, causes=causes, **where)


def request_id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def install(app: FastAPI) -> None:
    @app.exception_handler(AuteurError)
    async def ours(request: Request, error: AuteurError) -> JSONResponse:
        log_fault(error, method=request.method, path=request.url.path, request_id=request_id_of(request))
        return error_response(error, request_id_of(request))

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(of_validation(error.errors()), request_id_of(request))

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> JSONResponse:
        response = error_response(of_http(error, request.method, request.url.path), request_id_of(request))
        response.status_code = error.status_code
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response


def of_http(error: HTTPException, method: str, path: str) -> AuteurError:
    match error.status_code:
        case 404:
            return AuteurError(
                f"there is nothing at {path[:200]}; /docs lists what there is", code=Code.NOT_FOUND, path=path[:200]
            )
        case 405:
            return AuteurError(f"{path[:200]} does not take {method[:16]}; see /docs", code=Code.METHOD_NOT_ALLOWED)
        case 413:
            return AuteurError(str(error.detail), code=Code.TOO_LARGE)
        case 401:
            return AuteurError(str(error.detail), code=Code.UNAUTHORIZED)
        case 403:
            return AuteurError(str(error.detail), code=Code.FORBIDDEN)
        case _:
            return AuteurError(str(error.detail), code=Code.BAD_REQUEST)


def of_pydantic(error: ValidationError, prefix: str = "", *, code: Code = Code.INVALID_REQUEST) -> AuteurError:
    """For models that we parse ourselves."""
    located = [{**item, "loc": (prefix, *item["loc"])} for item in error.errors(include_url=False)]
    return of_validation(located, code=code)


def of_validation(errors: Sequence[Any], *, code: Code = Code.INVALID_REQUEST) -> AuteurError:
    """One sentence that names the field, and all of them in the details."""
    problems = [_problem(item) for item in errors]
    if any(item["type"] == "json_invalid" for item in errors):
        return AuteurError(f"the body is not JSON: {problems[0]['problem']}", code=Code.BAD_REQUEST)
    first = problems[0]
    text = f"{first['field']}: {first['problem']}" if first["field"] else first["problem"]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(f"{text}{more}", code=code, field=first["field"], problems=problems[:20])


def _problem(item: Any) -> dict[str, str]:
    location = [str(part) for part in item["loc"]]
    if location and location[0] in ("body", "query", "path", "header", ""):
        location = location[1:]
    field = ".".join(location)[:200]
    context = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            problem = "there is no such field"
        case "missing":
            problem = "is required"
        case "json_invalid":
            return {"field": "", "problem": f"{context.get('error', 'malformed')} at position {location[-1]}"}
        case "string_pattern_mismatch":
            problem = f"does not have the form {context.get('pattern')}"
        case "value_error":
            problem = str(context.get("error", item["msg"])).removeprefix("Value error, ")
        case _:
            problem = str(item["msg"]).removeprefix("Value error, ")
    return {"field": field, "problem": problem[:_LONGEST]}
