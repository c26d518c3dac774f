"""`/v1/generations`: ask, look, list, cancel, retry, delete, outputs, previews, logs."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import RedirectResponse

from auteur_contracts.errors import InvalidRequest
from auteur_contracts.quantities import Label
from auteur_contracts.vocabulary import ApiStatus
from auteur_contracts.web.http import (
    CreatedGeneration,
    CreateGeneration,
    ErrorReply,
    GenerationList,
    GenerationReply,
    GenerationStatusReply,
    OutputList,
)
from auteur_gateway import views
from auteur_gateway.context import Ctx
from auteur_gateway.database.repository import Filter
from auteur_gateway.generations import Found
from auteur_gateway.job_logs import follow_logs
from auteur_gateway.messages import output_replies
from auteur_web.sse import EventStream
from auteur_web.strict_json import StrictRoute

router = APIRouter(prefix="/v1/generations", tags=["generations"], route_class=StrictRoute)
_API = "api"
_REPLAYED = {"Idempotency-Replayed": "true"}
_EXAMPLES: dict[str, Any] = {
    "a prompt is enough": {"value": {"prompt": "misty cyberpunk alley"}},
    "everything said": {
        "value": {
            "prompt": "a large red star on a blue background",
            "function": "text-to-image",
            "quality": "draft",
            "params": {"seed": 7},
            "project": "demo",
            "node_id": "node-1",
        }
    },
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorReply, "description": "The name, the key or the state is taken."},
    429: {"model": ErrorReply, "description": "The queue is full."},
    503: {"model": ErrorReply, "description": "A part of the platform is away, or no runner is registered yet."},
}
_REDIRECT: dict[int | str, dict[str, Any]] = {307: {"description": "A link that works for some minutes."}}


@router.post(
    "",
    status_code=202,
    responses=_ERRORS,
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": _EXAMPLES}}}},
)
async def create(
    ctx: Ctx,
    response: Response,
    request: CreateGeneration,
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> CreatedGeneration:
    """Ask for a picture. Answers as soon as the job is stored; it is queued then and will not be lost."""
    created = await ctx.generations.create(request, key=idempotency_key)
    response.headers["Location"] = f"/v1/generations/{created.reply.job_id}"
    if created.replayed:
        response.headers.update(_REPLAYED)
    return created.reply


@router.get("")
async def list_generations(
    ctx: Ctx,
    project: Label | None = None,
    status: ApiStatus | None = None,
    function: Label | None = None,
    cursor: Annotated[str | None, Query(max_length=32, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> GenerationList:
    """Newest first."""
    wanted = Filter(project, function, status, _before(cursor))
    found, more = await ctx.generations.page(wanted, limit)
    items = tuple(views.generation_reply(one.row, one.seen) for one in found)
    return GenerationList(items=items, next_cursor=str(more) if more else None)


def _before(cursor: str | None) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) >= 2**63:
        raise InvalidRequest("cursor: give back `next_cursor` of the page before, as it was", field="cursor")
    return int(cursor)


@router.get("/{job_id}")
async def get(ctx: Ctx, job_id: str) -> GenerationReply:
    """Everything known of one job."""
    found = await ctx.generations.find(job_id)
    return views.generation_reply(found.row, found.seen, with_resource=True)


@router.get("/{job_id}/status")
async def status_of(ctx: Ctx, job_id: str) -> GenerationStatusReply:
    """What a poll needs: queued → running → done, failed or cancelled."""
    found = await ctx.generations.find(job_id)
    return views.status_reply(found.row, found.seen)


@router.post("/{job_id}/cancel", responses={202: {"model": GenerationReply, "description": "It will be cancelled."}})
async def cancel(ctx: Ctx, job_id: str, response: Response) -> GenerationReply:
    """Twice is once; a job that has finished stays as it is."""
    found = await ctx.generations.cancel(job_id, by=_API)
    response.status_code = 200 if found.seen.status.finished else 202
    return _whole(found)


@router.post("/{job_id}/retry", status_code=202, responses=_ERRORS)
async def retry(ctx: Ctx, job_id: str, response: Response) -> CreatedGeneration:
    """A new job with the plan of this one: the same runner, parameters and seed."""
    created = await ctx.generations.retry(job_id)
    response.headers["Location"] = f"/v1/generations/{created.reply.job_id}"
    return created.reply


@router.delete("/{job_id}", status_code=204)
async def delete(ctx: Ctx, job_id: str) -> None:
    """Forgets a job and the files it made. One that has not finished is cancelled first."""
    await ctx.generations.delete(job_id, by=_API)


@router.get("/{job_id}/outputs")
async def outputs(ctx: Ctx, job_id: str) -> OutputList:
    found = await ctx.generations.find(job_id)
    return OutputList(items=output_replies(found.row.name, found.seen.status.outputs))


@router.get("/{job_id}/outputs/{name}", status_code=307, response_class=RedirectResponse, responses=_REDIRECT)
async def output(ctx: Ctx, job_id: str, name: str, *, download: bool = False) -> RedirectResponse:
    """Redirects to the file. `?download=1` makes browsers save it."""
    return _to(await ctx.media.output_link(await ctx.generations.find(job_id), name, download=download))


@router.get("/{job_id}/preview", status_code=307, response_class=RedirectResponse, responses=_REDIRECT)
async def preview(ctx: Ctx, job_id: str) -> RedirectResponse:
    """Redirects to the newest preview."""
    return _to(await ctx.media.preview_link(await ctx.generations.find(job_id)))


@router.get(
    "/{job_id}/logs",
    status_code=200,
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`log` events, then `end`."}},
)
async def logs(ctx: Ctx, request: Request, job_id: str, *, follow: bool = False) -> EventStream:
    """What the job wrote, as server-sent events. `?follow=true` stays until the job has finished."""
    del request
    found = await ctx.generations.find(job_id)
    return EventStream(follow_logs(ctx, found, follow=follow))


def _to(link: str) -> RedirectResponse:
    return RedirectResponse(link, 307, {"Cache-Control": "no-store"})


def _whole(found: Found) -> GenerationReply:
    return views.generation_reply(found.row, found.seen, with_resource=True)
