"""Lean clients: HTTP/1.1 and WebSocket on bare asyncio, so that a bench measures the server and not its client."""

import asyncio
import base64
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import cast

_STAMP = b'"timestamp":"'


async def post_json(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
) -> tuple[int, bytes]:
    """One request on a connection that stays open."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    status, length = int(answer[9:12]), 0
    for line in answer.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, await reader.readexactly(length)


class Socket(asyncio.Protocol):
    """A WebSocket that only listens: it reports how old each text message is by the `timestamp` in it."""

    def __init__(self, path: str, heard: Callable[[float], None]) -> None:
        self._path = path
        self._heard = heard
        self._buffer = bytearray()
        self._open = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            (
                f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._buffer += data
        if not self._open and not self._shake_hands():
            return
        while (frame := self._next()) is not None:
            opcode, payload = frame
            if opcode == 1:
                self._heard(now - stamp_of(payload))
            elif opcode == 9 and self.transport is not None:
                self.transport.write(bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload)

    def _shake_hands(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.opened.set_exception(ConnectionError(bytes(self._buffer[:200]).decode(errors="replace")))
            return False
        del self._buffer[: end + 4]
        self._open = True
        self.opened.set_result(None)
        return True

    def _next(self) -> tuple[int, bytes] | None:
        """Opcode and payload of the next whole frame (RFC 6455); a server's frames are not masked."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(buffer[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(buffer[2:10]), 10
        if len(buffer) < start + length:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return opcode, payload


def stamp_of(payload: bytes) -> float:
    start = payload.index(_STAMP) + len(_STAMP)
    return datetime.fromisoformat(payload[start : payload.index(b'"', start)].decode()).timestamp()
