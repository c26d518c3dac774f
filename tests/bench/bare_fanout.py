"""The yardstick of `bench_sockets`: the least that hands each event of the same stream to its project's sockets as it
came. No cursor, no replay, no parsing; a bounded queue and a reader for each socket, as any server needs them.

`python -m tests.bench.bare_fanout PORT NATS_URL USER PASSWORD`
"""

import asyncio
import sys
from collections import defaultdict

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from auteur_kit.bus import Bus, Delivery, EventLog, Position
from auteur_kit.settings import NatsSettings

_PROJECT = 4
"""The place of the project in a fact's subject."""
_QUEUE = 100


async def serve(port: int, nats: NatsSettings) -> None:  # noqa: C901  # one screen on purpose: a yardstick is read whole
    sockets: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)

    async def handle(batch: list[Delivery], _epoch: str) -> None:
        for delivery in batch:
            text = delivery.data.decode()
            for queue in sockets[delivery.subject.split(".")[_PROJECT]]:
                if not queue.full():
                    queue.put_nowait(text)

    async def reset(_here: Position) -> None:
        pass

    async def read(websocket: WebSocket) -> None:
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass

    async def send(websocket: WebSocket, queue: asyncio.Queue[str]) -> None:
        while True:
            await websocket.send_text(await queue.get())

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        queue: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        mine = sockets[websocket.path_params["project"]]
        mine.add(queue)
        tasks = [asyncio.create_task(read(websocket)), asyncio.create_task(send(websocket, queue))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        mine.discard(queue)

    app = Starlette(routes=[WebSocketRoute("/ws/{project}", socket)])
    config = uvicorn.Config(
        app,
        port=port,
        loop="uvloop",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    async with Bus.connect(nats, name="bare") as bus:
        following = asyncio.create_task(EventLog(bus).follow(handle, reset))
        await uvicorn.Server(config).serve()
        following.cancel()


if __name__ == "__main__":
    address = {"url": sys.argv[2], "user": sys.argv[3], "password": sys.argv[4]}
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), NatsSettings.model_validate(address)))
