"""`/health`, `/livez`, `/readyz`, `/api/v1/info`."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from auteur_contracts.errors import RETRY_AFTER, Code
from auteur_contracts.web.http import HealthReply, HealthStatus, InfoReply
from auteur_gateway.context import Context, Ctx
from auteur_web.app import auteur_version
from auteur_web.health import OK, check

router = APIRouter(tags=["health"])
_UNWELL: dict[int | str, dict[str, Any]] = {503: {"model": HealthReply, "description": "It cannot work now."}}


@router.get("/health", responses=_UNWELL)
async def health(ctx: Ctx, response: Response) -> HealthReply:
    """Each part, and what is wrong with it."""
    checks = await run_checks(ctx)
    status = judge(checks)
    _answer(response, serves=status is not HealthStatus.UNHEALTHY)
    return HealthReply(status=status, timestamp=ctx.now(), service="gateway", version=auteur_version(), checks=checks)


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers; says nothing of what it depends on."""
    return {"status": OK}


@router.get("/readyz", responses={503: {"description": "Not yet, or no longer: it is starting, draining or cut off."}})
async def readyz(ctx: Ctx, response: Response) -> dict[str, str]:
    """Requests are welcome: the database and NATS answer, and the process is not about to end."""
    checks = {
        **await _essentials(ctx),
        "events": OK if ctx.hub.ready.is_set() else "not followed yet",
        "process": "draining" if ctx.hub.closing else OK,
    }
    ready = all_ok(checks)
    _answer(response, serves=ready)
    return {"status": OK if ready else "not ready", **checks}


@router.get("/api/v1/info")
async def info(ctx: Ctx) -> InfoReply:
    settings = ctx.settings.gateway
    return InfoReply(
        name="Auteur",
        version=auteur_version(),
        namespace=settings.namespace,
        endpoints={
            "generations": "/v1/generations",
            "functions": "/v1/functions",
            "uploads": "/v1/uploads",
            "resources": "/v1/resources/{kind}/{name}",
            "events": "/v1/events",
            "socket": "/ws/{project_id}",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "asyncapi": "/asyncapi.json",
            "health": "/health",
        },
        default_quality=settings.default_quality,
        task_timeout_seconds=settings.task_timeout.total_seconds(),
        heartbeat_seconds=settings.heartbeat.total_seconds(),
        queue_limit=settings.queue_limit,
    )


def _answer(response: Response, *, serves: bool) -> None:
    response.status_code = 200 if serves else 503
    if not serves:
        response.headers["Retry-After"] = f"{RETRY_AFTER[Code.UNAVAILABLE]:.0f}"


async def run_checks(ctx: Context) -> dict[str, str]:
    essentials, writes, store, control_plane = await asyncio.gather(
        _essentials(ctx),
        check(ctx.database.write_nothing()),
        check(ctx.store.check()),
        check(ctx.projection.anti_entropy.control_plane.is_there()),
    )
    if essentials["database"] == OK:
        essentials["database"] = writes
    return {"api": OK, **essentials, "store": store, "control_plane": control_plane, "workspace": _workspace(ctx)}


async def _essentials(ctx: Context) -> dict[str, str]:
    return {
        "database": await check(ctx.database.reader.ping()),
        "nats": OK if ctx.bus.connected else "not connected; it is tried again all the time",
    }


def all_ok(checks: Mapping[str, str]) -> bool:
    return all(value == OK for value in checks.values())


def judge(checks: dict[str, str]) -> HealthStatus:
    """Without its database the gateway can do nothing; without the rest it still takes jobs and shows what it knows."""
    if checks["database"] != OK:
        return HealthStatus.UNHEALTHY
    return HealthStatus.HEALTHY if all_ok(checks) else HealthStatus.DEGRADED


def _workspace(ctx: Context) -> str:
    """The folder of the database's file; a database server has its own."""
    file = ctx.database.engines.file
    if file is None or os.access(file.parent, os.W_OK):
        return OK
    return "the data folder cannot be written"
