"""The floor of `bench_latency` and `bench_submits`: the least that takes a job durably and hands it to a process.

The same requests between as many processes, the same durable writes, the same servers, and nothing else: no checks, no
state, no queue, nobody who watches.

    client → gateway: commit, 202, publish → engine: commit, publish → worker: claim → engine: commit, reply → child
"""

import argparse
import asyncio
import contextlib
import json
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import uvicorn
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext

READY = "ready"
"""What engine and worker print when they listen: they have no door to knock at."""
_LARGEST_GROUP = 256
COMMANDS, WORK, CLAIMS = "commands", "work", "claims"

Publish = Callable[[bytes], Awaitable[object]]


class Commits:
    """One SQLite file and the thread that writes it; all that waits shares one commit."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[tuple[bytes, ...], asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._write_all, args=(path,), daemon=True).start()

    async def add(self, *rows: bytes) -> None:
        """Returns when they are on the disk."""
        done = self._loop.create_future()
        self._waiting.put((rows, done))
        await done

    def _write_all(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        while True:
            batch = [self._waiting.get()]
            while len(batch) < _LARGEST_GROUP and not self._waiting.empty():
                batch.append(self._waiting.get())
            connection.execute("BEGIN IMMEDIATE")
            values = [(row,) for rows, _ in batch for row in rows]
            connection.executemany("INSERT INTO rows (body) VALUES (?)", values)
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, [done for _, done in batch])


def _settle(all_done: list[asyncio.Future[None]]) -> None:
    for done in all_done:
        done.set_result(None)


async def gateway(port: int, commits: Commits, publish: Publish | None) -> None:
    relaying: set[asyncio.Future[object]] = set()

    async def app(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["method"] == "POST":
            json.loads(body)
            await commits.add(body, body)  # the job, and the command that is to be published
            status, answer = 202, {"job_id": "bare", "status_url": "/done"}
        else:
            status, answer = 200, {"status": "done"}
        text = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})
        if publish is not None and status == 202:
            relaying.add(task := asyncio.ensure_future(publish(body)))
            task.add_done_callback(relaying.discard)

    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, http="httptools", lifespan="off", access_log=False, log_level="warning"
    )
    await uvicorn.Server(config).serve()


async def engine(client: Client, stream: JetStreamContext, commits: Commits, *, orders: bool) -> None:
    async def on_command(message: Msg) -> None:
        await commits.add(message.data)
        await message.ack()
        if orders:
            await stream.publish(WORK, message.data)

    async def on_claim(message: Msg) -> None:
        await commits.add(message.data)
        await message.respond(b"granted")

    await client.subscribe(CLAIMS, cb=on_claim)
    await stream.subscribe(COMMANDS, durable="engine", cb=on_command, manual_ack=True)
    await _for_ever()


async def worker(client: Client, stream: JetStreamContext, ledger: Path) -> None:
    argv = (sys.executable, "-m", "tests.bench.bare_chain", "child", "--ledger", str(ledger))
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    hand = process.stdin

    async def on_order(message: Msg) -> None:
        await client.request(CLAIMS, message.data, timeout=10)
        await message.ack()
        hand.write(message.data + b"\n")

    await stream.subscribe(WORK, durable="worker", cb=on_order, manual_ack=True)
    await _for_ever()


def child(ledger: Path) -> None:
    """Notes when it was entered, in the form of `tests.support.echo`."""
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while sys.stdin.buffer.readline():
        os.write(descriptor, f"bare 1 {time.time_ns()}\n".encode())


async def _for_ever() -> None:
    print(READY, flush=True)
    await asyncio.Event().wait()


async def durable_streams(client: Client) -> JetStreamContext:
    stream = client.jetstream()
    for subject in (COMMANDS, WORK):
        config = StreamConfig(
            name=subject.upper(), subjects=[subject], retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE
        )
        await stream.add_stream(config)
    return stream


@contextlib.asynccontextmanager
async def _connected(arguments: argparse.Namespace) -> AsyncIterator[tuple[Client, JetStreamContext]]:
    client = await nats.connect(arguments.nats, user=arguments.user, password=arguments.password)
    try:
        yield client, await durable_streams(client)
    finally:
        await client.close()


async def _run(arguments: argparse.Namespace) -> None:
    if arguments.role == "gateway" and not arguments.nats:
        await gateway(arguments.port, Commits(arguments.database), None)
        return
    async with _connected(arguments) as (client, stream):
        match arguments.role:
            case "gateway":
                await gateway(arguments.port, Commits(arguments.database), lambda body: stream.publish(COMMANDS, body))
            case "engine":
                await engine(client, stream, Commits(arguments.database), orders=arguments.orders)
            case _:
                await worker(client, stream, arguments.ledger)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bare_chain", description=__doc__)
    parser.add_argument("role", choices=("gateway", "engine", "worker", "child"))
    parser.add_argument("--nats", default="", help="its URL; a gateway without one publishes nothing")
    parser.add_argument("--orders", action="store_true", help="of an engine: there is a worker to give them to")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--port", type=int)
    parser.add_argument("--database", type=Path)
    parser.add_argument("--ledger", type=Path)
    chosen = parser.parse_args()
    if chosen.role == "child":
        child(chosen.ledger)
    else:
        uvloop.run(_run(chosen))
