"""An HTTP server that answers as a test wrote it down, and remembers what it was asked. Real sockets, real threads:
what is under test is how the client meets a network."""

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drops: bool = False
    """The connection ends without an answer."""
    stays_until: threading.Event | None = None
    """After the body the connection stays open, silent, until this is set."""


def told(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def refused(status: int, code: str, message: str, **headers: str) -> Answer:
    error = {"code": code, "message": message, "details": {}}
    return told({"error": error, "request_id": "r-1", "timestamp": "2026-11-21T12:00:00Z"}, status, **headers)


def streamed(*events: str, stays_until: threading.Event | None = None) -> Answer:
    """Each event as its lines; a stream that is not told to stay ends after the last."""
    body = "".join(event if event.endswith("\n") else f"{event}\n\n" for event in events)
    return Answer(200, body.encode(), {"Content-Type": "text/event-stream"}, stays_until=stays_until)


class ScriptedServer:
    """`script[method, path]` are the answers in turn; the last one repeats."""

    def __init__(self, script: Mapping[tuple[str, str], Sequence[Answer]] | None = None) -> None:
        self.script: dict[tuple[str, str], list[Answer]] = {route: list(turn) for route, turn in (script or {}).items()}
        self.seen: list[Seen] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def asked(self, method: str, path: str) -> list[Seen]:
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        turn = self.script.get((seen.method, seen.path))
        if turn is None:
            return refused(404, "not_found", f"there is nothing at {seen.path}")
        return turn.pop(0) if len(turn) > 1 else turn[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for turn in self.script.values():
            for answer in turn:
                if answer.stays_until is not None:
                    answer.stays_until.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, script: ScriptedServer) -> None:
        self.script = script
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        """Tests say what they need to."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        seen = Seen(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        answer = self.server.script.answer(seen)
        if answer.drops:
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the client may have gone
            self.wfile.write(answer.body)
            self.wfile.flush()
        if answer.stays_until is not None:
            answer.stays_until.wait(30)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  the library's names
