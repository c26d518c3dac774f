"""Server-sent events: a response that notices when its reader has gone."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from auteur_kit.logs import get_logger

log = get_logger()
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
COMMENT = b": heartbeat\n\n"


def event(kind: str, data: str, *, cursor: str = "") -> bytes:
    """One event. `data` is JSON on one line."""
    head = f"id: {cursor}\n" if cursor else ""
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


def place(cursor: str) -> bytes:
    """No event, only where to resume: a client that loses its connection now has a cursor already."""
    return f"id: {cursor}\n\n".encode()


class EventStream(Response):
    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers={**_HEADERS, **(headers or {})})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send), name="event stream")
        reading = asyncio.create_task(_gone(receive), name="event stream reader")
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, reading):
                task.cancel()
            for result in await asyncio.gather(sending, reading, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, OSError):  # that is a client that left
                    log.error("event stream failed", path=scope["path"], exc_info=result)

    async def _send(self, send: Send) -> None:
        # Headers leave with the first body part: a comment opens the stream at once.
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        async with contextlib.aclosing(self._events) as events:  # now, not when the garbage is collected
            async for chunk in events:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
