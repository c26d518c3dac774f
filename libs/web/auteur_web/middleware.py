"""The outermost layer: request ids, who may come in, how large a body may be, and the last catch."""

import re
import uuid
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from auteur_contracts.errors import AuteurError, Code
from auteur_kit import telemetry, trace
from auteur_kit.logs import get_logger
from auteur_web.errors import error_response
from auteur_web.security import Call, Policy, decide

log = get_logger()
REQUEST_ID = "x-request-id"
_REQUEST_ID_FORM = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")


@dataclass(frozen=True)
class BodyLimit:
    bytes: int = 1024**2
    remedy: str = ""
    """What to do instead: "upload files with POST /v1/uploads"."""

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"the body is larger than {self.bytes // 1024**2} MiB{remedy}"


class _TooLarge(HTTPException):
    """Of the framework's kind: its body reader turns everything else into a 400."""

    def __init__(self, limit: BodyLimit) -> None:
        super().__init__(413, str(limit))


class Guard:
    def __init__(self, app: ASGIApp, policy: Policy, limit: BodyLimit) -> None:
        self._app = app
        self._policy = policy
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_for(headers.get(REQUEST_ID, ""))
        scope.setdefault("state", {})["request_id"] = request_id
        # Where telemetry is on, the request's span is active already, and a child of what the caller named.
        named = "" if telemetry.traceparent() else headers.get(trace.HEADER, "")
        with bound_contextvars(request_id=request_id), telemetry.carry(named):
            if refusal := decide(_call(scope, headers), self._policy):
                await _refuse(refusal, request_id, scope, receive, send)
            elif scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._http(scope, receive, send, request_id, headers)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request_id: str, headers: Headers) -> None:
        started = False
        received = 0

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                marked = MutableHeaders(scope=message)
                marked.setdefault(REQUEST_ID, request_id)
                marked.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit.bytes:
                raise _TooLarge(self._limit)
            return message

        declared = headers.get("content-length", "0")
        try:
            _check_size(declared, self._limit)
            await self._app(scope, receive_counted, send_marked)
        except _TooLarge as too_large:
            if not started:
                error = AuteurError(too_large.detail, code=Code.TOO_LARGE)
                await error_response(error, request_id)(scope, receive, send_marked)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if not started:
                error = AuteurError(
                    "something went wrong here; the server's log has more under this request id", code=Code.INTERNAL
                )
                await error_response(error, request_id)(scope, receive, send_marked)


def _check_size(declared: str, limit: BodyLimit) -> None:
    if declared.isdigit() and int(declared[:20]) > limit.bytes:
        raise _TooLarge(limit)


def request_id_for(offered: str) -> str:
    """The caller's, when it is harmless to write into logs; else a new one."""
    return offered if _REQUEST_ID_FORM.match(offered) else uuid.uuid4().hex


def _call(scope: Scope, headers: Headers) -> Call:
    return Call(
        method=scope.get("method", "GET"),
        path=scope["path"],
        host=headers.get("host", ""),
        origin=headers.get("origin", ""),
        authorization=headers.get("authorization", ""),
        query=scope.get("query_string", b"").decode("latin-1"),
        subprotocols=tuple(scope.get("subprotocols", ())),
        is_socket=scope["type"] == "websocket",
    )


async def _refuse(error: AuteurError, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(error, request_id)
    response.headers[REQUEST_ID] = request_id
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    await receive()  # websocket.connect
    await deny_socket(scope, send, response)


async def deny_socket(scope: Scope, send: Send, response: Response) -> None:
    """A socket that is not accepted gets an HTTP answer, where the server can send one."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    start: dict[str, Any] = {
        "type": "websocket.http.response.start",
        "status": response.status_code,
        "headers": response.raw_headers,
    }
    await send(start)
    await send({"type": "websocket.http.response.body", "body": response.body})
