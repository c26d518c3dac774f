"""An application as every service of ours has it: guarded, errors in one form, documented without a CDN."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.types import Scope

from auteur_contracts.web.http import ErrorReply
from auteur_kit import telemetry
from auteur_web import docs, errors
from auteur_web.middleware import BodyLimit, Guard
from auteur_web.security import Policy

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
_PROBES = ("/health", "/livez", "/readyz")
_EXPOSED = ("Location", "X-Request-ID", "Idempotency-Replayed", "Retry-After")


def auteur_version() -> str:
    """Of the installed distribution; `0` when the code runs without one."""
    try:
        return version("auteur")
    except PackageNotFoundError:
        return "0"


@dataclass(frozen=True)
class About:
    title: str
    description: str


def make_app(
    about: About, routers: Sequence[APIRouter], lifespan: Lifespan, *, policy: Policy, limit: BodyLimit
) -> FastAPI:
    app = FastAPI(
        docs_url=None,  # both by `docs`, without a CDN
        redoc_url=None,
        title=about.title,
        version=auteur_version(),
        description=about.description,
        lifespan=lifespan,
        telemetry=_spans(),
        responses={
            404: {"model": ErrorReply, "description": "What was looked for is not there."},
            422: {"model": ErrorReply, "description": "Understood, but wrong: the error names the field."},
        },
    )
    for router in routers:
        app.include_router(router)
    docs.install(app)
    errors.install(app)
    app.add_middleware(Guard, policy=policy, limit=limit)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=sorted(policy.origins),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=list(_EXPOSED),
    )
    return app


def _spans() -> TelemetryConfig:
    """FastAPI makes the span of a request, named by its route, and continues the caller's trace."""
    provider = telemetry.provider()
    return {
        "tracing": provider is not None,
        "tracer_provider": provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
        "exclude": _is_probe,
    }


def _is_probe(scope: Scope) -> bool:
    return scope["path"] in _PROBES
