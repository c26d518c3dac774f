"""The yardstick of `bench_sockets`: the least that hands a NATS message to each socket of its project. No cursor, no
replay, no parsing; a bounded queue and a reader for each socket, as any server needs them.

`python -m tests.bench.bare_fanout PORT NATS_URL USER PASSWORD`
"""

import asyncio
import sys
from collections import defaultdict

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings

SUBJECT = "bench"
_QUEUE = 100


async def serve(port: int, nats: NatsSettings) -> None:
    sockets: defaultdict[str, set[asyncio.Queue[str]]] = defaultdict(set)

    async def handle(subject: str, data: bytes) -> None:
        text = data.decode()
        for queue in sockets[subject.rpartition(".")[2]]:
            if not queue.full():
                queue.put_nowait(text)

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
        await bus.listen(f"{SUBJECT}.*", handle)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    address = {"url": sys.argv[2], "user": sys.argv[3], "password": sys.argv[4]}
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), NatsSettings.model_validate(address)))
