"""`/health`, `/livez`, `/readyz`, `/api/v1/info`."""

import asyncio
import os
from typing import Any

from fastapi import APIRouter, Response

from auteur_contracts.errors import AuteurError
from auteur_contracts.web.http import HealthReply, HealthStatus, InfoReply
from auteur_gateway import auteur_version
from auteur_gateway.context import Context, Ctx

router = APIRouter(tags=["health"])
_OK = "ok"
_PATIENCE = 3.0
_UNWELL: dict[int | str, dict[str, Any]] = {503: {"model": HealthReply, "description": "It cannot work now."}}


@router.get("/health", responses=_UNWELL)
async def health(ctx: Ctx, response: Response) -> HealthReply:
    """Each part, and what is wrong with it."""
    checks = await run_checks(ctx)
    status = judge(checks)
    response.status_code = 503 if status is HealthStatus.UNHEALTHY else 200
    return HealthReply(status=status, timestamp=ctx.now(), service="gateway", version=auteur_version(), checks=checks)


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers; says nothing of what it depends on."""
    return {"status": _OK}


@router.get("/readyz", responses={503: {"description": "Not yet, or no longer: it is starting, draining or cut off."}})
async def readyz(ctx: Ctx, response: Response) -> dict[str, str]:
    """Requests are welcome: the database and NATS answer, and the process is not about to end."""
    checks = {
        "database": await _check(ctx.repository.ping()),
        "nats": _OK if ctx.bus.connected else "not connected",
        "events": _OK if ctx.hub.ready.is_set() else "not followed yet",
        "process": "draining" if ctx.hub.closing else _OK,
    }
    ready = all(value == _OK for value in checks.values())
    response.status_code = 200 if ready else 503
    return {"status": _OK if ready else "not ready", **checks}


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


async def run_checks(ctx: Context) -> dict[str, str]:
    database, store = await asyncio.gather(_check(ctx.repository.ping()), _check(ctx.store.check()))
    return {
        "api": _OK,
        "nats": _OK if ctx.bus.connected else "not connected; it is tried again all the time",
        "store": store,
        "database": database,
        "workspace": _workspace(ctx),
    }


def judge(checks: dict[str, str]) -> HealthStatus:
    """Without its database the gateway can do nothing; without the rest it still takes jobs and shows what it knows."""
    if checks["database"] != _OK:
        return HealthStatus.UNHEALTHY
    return HealthStatus.HEALTHY if all(value == _OK for value in checks.values()) else HealthStatus.DEGRADED


async def _check(answer: Any) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await answer
    except AuteurError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {_PATIENCE:.0f} s"
    return _OK


def _workspace(ctx: Context) -> str:
    """The folder of the database's file; a database server has its own."""
    file = ctx.engines.file
    if file is None or os.access(file.parent, os.W_OK):
        return _OK
    return "the data folder cannot be written"
