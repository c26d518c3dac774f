"""Whether a server answers: each function makes one short attempt."""

import asyncio
import contextlib
import http.client
import json
from urllib.parse import urlsplit

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


async def store_answers(url: str, master: int) -> bool:
    return await asyncio.to_thread(get_store, url, master)


def get_store(url: str, master: int) -> bool:
    """SeaweedFS, by its S3 and the port of its master. After a crash S3 says that it is well some seconds before the
    volumes are known, and until then answers every request for an object with an internal error.
    """
    if not get_ok(f"{url}/healthz"):
        return False
    status, body = get(f"http://127.0.0.1:{master}/dir/status")
    return status == 200 and knows_volumes(body)


def knows_volumes(topology: bytes) -> bool:
    """Whether the master's answer, whatever it is, lists a data center with volumes."""
    try:
        return bool(json.loads(topology)["Topology"]["DataCenters"])
    except (ValueError, KeyError, TypeError):
        return False


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
