"""Server-sent events. The response is Starlette's, which notices when its reader has gone; ours are the form of an
event and that a stream's generator ends with its reader.
"""

import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import StreamingResponse
from starlette.types import Send

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


class EventStream(StreamingResponse):
    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        self._chunks = _opened(events)
        super().__init__(self._chunks, headers=_HEADERS)

    async def stream_response(self, send: Send) -> None:
        try:
            async with contextlib.aclosing(self._chunks):  # now, not when the garbage is collected
                await super().stream_response(send)
        except OSError:  # the reader has left
            return
        except Exception:  # an answer that has begun cannot become an error: its connection ends
            log.exception("event stream failed")


async def _opened(events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Headers leave with the first body part: a comment opens the stream at once."""
    yield b": open\n\n"
    async with contextlib.aclosing(events):
        async for chunk in events:
            yield chunk
