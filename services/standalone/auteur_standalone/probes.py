"""Whether a server answers: each function makes one short attempt."""

import asyncio
import contextlib
import http.client
from urllib.parse import urlsplit

from auteur_standalone.servers import StorePorts

_SECONDS = 2.0


async def nats_answers(port: int, host: str = "127.0.0.1") -> bool:
    """A NATS server greets whoever connects."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await reader.readexactly(5) == b"INFO "
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def url_answers(url: str) -> bool:
    return await asyncio.to_thread(get_ok, url)


async def store_answers(url: str, ports: StorePorts) -> bool:
    return await asyncio.to_thread(get_store, url, ports)


def get_store(url: str, ports: StorePorts) -> bool:
    """SeaweedFS, by its S3 and its master. After a crash S3 says that it is well some seconds before the
    volumes are known, and until then answers every request for an object with an internal error.
    """
    if not get_ok(f"{url}/healthz"):
        return False
    # Its page for people is all that the master still shows over HTTP. It names the volume server once that has told of
    # its volumes.
    status, page = get(f"http://127.0.0.1:{ports.master}/")
    return status == 200 and f"127.0.0.1:{ports.volume}".encode() in page


def get_ok(url: str) -> bool:
    status, _ = get(url)
    return status == 200


def get(url: str, *, seconds: float = _SECONDS) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers. Past proxies that the environment may name: this machine is asked,
    by the name that its gateway always answers to, whichever Host names it is told to allow besides."""
    parts = urlsplit(url)
    wanted = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json", "Host": f"localhost:{parts.port or 80}"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", wanted, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
