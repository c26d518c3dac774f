"""`WS /ws/{project_id}` and `GET /v1/events`: the same messages, resumed by the same cursor."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Header, Query, WebSocket, WebSocketDisconnect
from pydantic import TypeAdapter, ValidationError

from auteur_contracts.errors import AuteurError, Code, NotFound
from auteur_contracts.names import DEFAULT_PROJECT
from auteur_contracts.quantities import Label
from auteur_contracts.web.http import CreateGeneration
from auteur_contracts.web.socket import (
    CancelTask,
    ClientMessage,
    ErrorMessage,
    Ping,
    Pong,
    StartGeneration,
    TaskStarted,
    client_messages,
)
from auteur_gateway.context import Context, Ctx, context_of
from auteur_gateway.feed import Feeds
from auteur_kit.logs import get_logger
from auteur_web import sse
from auteur_web.errors import details_of, error_response, log_fault, of_pydantic
from auteur_web.middleware import deny_socket
from auteur_web.sse import EventStream
from auteur_web.strict_json import parse

log = get_logger()
router = APIRouter(tags=["events"])
_label: TypeAdapter[str] = TypeAdapter(Label)
_GOING_AWAY = 1012
_LONGEST_MESSAGE = 256 * 1024


@router.get(
    "/v1/events",
    status_code=200,
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {}}, "description": "See /asyncapi.json for the messages."}},
)
async def events(
    ctx: Ctx,
    project: Label = DEFAULT_PROJECT,
    after: Annotated[str, Query(max_length=128, description="Cursor of the last message seen.")] = "",
    last_event_id: Annotated[str, Header(max_length=128)] = "",
) -> EventStream:
    """What happens in a project, as server-sent events. Browsers resume by themselves (Last-Event-ID)."""
    heartbeat = ctx.settings.gateway.heartbeat.total_seconds()
    return EventStream(_stream(ctx.feeds, project, last_event_id or after, heartbeat))


async def _stream(feeds: Feeds, project: str, after: str, heartbeat: float) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(feeds.open(project, after, heartbeat=heartbeat)) as feed:
        async for frames in feed:
            if not frames:
                yield sse.COMMENT
            for frame in frames:
                if not frame.text:
                    yield sse.place(frame.cursor)
                else:
                    yield sse.event(frame.kind, frame.text, cursor=frame.cursor)


@router.websocket("/ws/{project_id}")
async def socket(websocket: WebSocket, project_id: str, after: str = "") -> None:
    ctx = context_of(websocket)
    try:
        _label.validate_python(project_id)
    except ValidationError:
        error = NotFound(f'"{project_id[:100]}" cannot be a project: use lower-case letters, digits and hyphens')
        await websocket.receive()
        response = error_response(error, str(websocket.scope["state"]["request_id"]))
        await deny_socket(websocket.scope, websocket.send, response)
        return
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(subprotocol=offered[0] if offered else None)
    sending = asyncio.create_task(_send(websocket, ctx.feeds, project_id, after), name="socket sender")
    reading = asyncio.create_task(_read(websocket, ctx, project_id), name="socket reader")
    try:
        await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, reading):
            task.cancel()
        for result in await asyncio.gather(sending, reading, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect | RuntimeError | OSError):
                log.error("socket failed", error=repr(result))
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError):
            await websocket.close(_GOING_AWAY, "the server restarts; come back with your cursor")


async def _send(websocket: WebSocket, feeds: Feeds, project: str, after: str) -> None:
    """Without a heartbeat: pings are the server's business."""
    send = websocket.send
    async with contextlib.aclosing(feeds.open(project, after[:128])) as feed:
        async for frames in feed:
            for frame in frames:
                if frame.text:
                    await send({"type": "websocket.send", "text": frame.text})


async def _read(websocket: WebSocket, ctx: Context, project: str) -> None:
    """Until the client goes, which only a reader notices."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        answer = await _answer(ctx, project, message.get("text") or message.get("bytes") or "")
        if answer is not None:
            await websocket.send_text(answer.model_dump_json())


async def _answer(ctx: Context, project: str, text: str | bytes) -> Pong | TaskStarted | ErrorMessage | None:
    reply_to = ""
    try:
        message, reply_to = _understand(text)
        return await _obey(ctx, project, message)
    except AuteurError as error:
        log_fault(error, path="/ws", project=project)
        waits = {} if error.retry_after is None else {"retry_after": error.retry_after}
        return ErrorMessage(
            id=uuid.uuid4().hex,
            project_id=project,
            timestamp=ctx.now(),
            error_code=error.code.value,
            message=error.message,
            details={**details_of(error), **waits} or None,
            reply_to=reply_to or None,
        )


def _understand(text: str | bytes) -> tuple[ClientMessage, str]:
    data = text.encode(errors="replace") if isinstance(text, str) else text
    if len(data) > _LONGEST_MESSAGE:
        raise AuteurError(f"a message is at most {_LONGEST_MESSAGE // 1024} KiB", code=Code.BAD_REQUEST)
    try:
        message = client_messages.validate_python(parse(data))
    except ValidationError as error:
        raise of_pydantic(error) from error
    except ValueError as error:
        raise AuteurError(f"the message is not JSON: {error}", code=Code.BAD_REQUEST) from error
    return message, message.id


async def _obey(ctx: Context, project: str, message: ClientMessage) -> Pong | TaskStarted | None:
    about = {"id": uuid.uuid4().hex, "project_id": project, "timestamp": ctx.now(), "reply_to": message.id or None}
    match message:
        case Ping():
            return Pong.model_validate(about)
        case CancelTask(task_id=task_id):
            await ctx.generations.cancel(task_id, by="socket")
            return None
        case StartGeneration():
            created = await ctx.generations.create(
                _request(project, message), key=f"socket/{project}/{message.id}" if message.id else ""
            )
            reply = created.reply
            return TaskStarted.model_validate(
                about
                | {
                    "task_id": reply.job_id,
                    "node_id": reply.node_id,
                    "function": reply.function,
                    "quality": reply.quality,
                }
            )


def _request(project: str, message: StartGeneration) -> CreateGeneration:
    try:
        return CreateGeneration(
            function=message.task_type.replace("_", "-"),
            params=message.params,
            quality=message.quality,
            runner=message.runner,
            node_id=message.node_id,
            project=project,
        )
    except ValidationError as error:
        raise of_pydantic(error) from error
