"""uvicorn as we run it, and how it ends: sockets closed with 1012, the process gone within ten seconds of SIGTERM."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from auteur_web.settings import ServerSettings


class Server(uvicorn.Server):
    """Tells open streams to end as soon as the signal comes; uvicorn alone would wait for them."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del frame
        # Not the parent's: it raises the signal again at the end, and a drained process would look like a killed one.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        asyncio.get_running_loop().call_soon_threadsafe(self._end_streams)


def _is_of_interest(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    return not (said.startswith("Traceback") or "without completing handshake" in said)


def make_server(app: ASGIApp, settings: ServerSettings, end_streams: Callable[[], None]) -> Server:
    """`end_streams` is called when the process is told to end: whatever streams must stop then."""
    heartbeat = settings.heartbeat.total_seconds()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="asyncio" if sys.platform == "win32" else "uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # costs a quarter of the throughput and 90 KB a socket
        ws_ping_interval=heartbeat,
        ws_ping_timeout=heartbeat,
        ws_max_size=1024**2,
        ws_max_queue=64,
        timeout_graceful_shutdown=max(1, int(settings.drain.total_seconds())),
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
    )
    # Its informational lines show every socket with its query, where a token may be; and each socket that was answered
    # with an HTTP error is reported as a fault of the application. Why it cannot start `app` says, in a sentence.
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.WARNING)
    uvicorn_log.addFilter(_is_of_interest)
    return Server(config, end_streams)
