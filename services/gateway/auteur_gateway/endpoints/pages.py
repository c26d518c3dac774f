"""`/` (the page, or a welcome in JSON), `/asyncapi.json`, `/api/docs`."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from auteur_contracts.web.http import WelcomeReply
from auteur_gateway import asyncapi, auteur_version
from auteur_gateway.context import Ctx

router = APIRouter(tags=["pages"])
_DOCS_ASSETS = "/docs-assets"
_DOCS_POLICY = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; worker-src blob:"  # ReDoc would fetch a logo from outside
    )
}


@router.get("/", responses={200: {"model": WelcomeReply, "description": "The page, to a browser."}})
async def root(ctx: Ctx, request: Request) -> Response:
    """The page to a browser; a welcome to a client that asks for JSON."""
    if "text/html" not in request.headers.get("accept", ""):
        welcome = WelcomeReply(
            message="Auteur: a studio for generated media.", version=auteur_version(), docs="/docs", health="/health"
        )
        return JSONResponse(welcome.model_dump(mode="json"))
    html = page()
    policy = content_policy(html, request.headers.get("host", ""), ctx.store.public_url)
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})


@router.get("/asyncapi.json")
async def asyncapi_document() -> dict[str, Any]:
    """The messages of the socket and of the event stream."""
    return asyncapi.document()


@cache
def page() -> str:
    return files("auteur_gateway").joinpath("page/index.html").read_text("utf-8")


def content_policy(html: str, host: str, store_url: str) -> str:
    """Nothing but the page's own script and style; pictures from here and, where links lead to, from the store."""
    store = "{0.scheme}://{0.netloc}".format(urlsplit(store_url))
    here = host if re.fullmatch(r"[A-Za-z0-9.:\[\]-]{1,255}", host) else ""
    sockets = f" ws://{here} wss://{here}" if here else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digests(html, 'script')}",
            f"style-src {_digests(html, 'style')}",
            f"img-src 'self' data: {store}",
            f"media-src 'self' {store}",
            f"connect-src 'self'{sockets}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _digests(html: str, tag: str) -> str:
    bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in bodies)


def add_docs(app: FastAPI) -> None:
    """Swagger UI at `/docs` and `/api/docs`, ReDoc at `/redoc`; their scripts come from here, not from a CDN."""
    app.mount(_DOCS_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))
    icon, document = f"{_DOCS_ASSETS}/favicon.png", app.openapi_url or ""

    def swagger() -> HTMLResponse:
        made = get_swagger_ui_html(
            openapi_url=document,
            title=f"{app.title} · API",
            swagger_js_url=f"{_DOCS_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_DOCS_ASSETS}/swagger-ui.css",
            swagger_favicon_url=icon,
        )
        return HTMLResponse(made.body, headers=_DOCS_POLICY)

    def redoc() -> HTMLResponse:
        made = get_redoc_html(
            openapi_url=document,
            title=f"{app.title} · API",
            redoc_js_url=f"{_DOCS_ASSETS}/redoc.standalone.js",
            redoc_favicon_url=icon,
            with_google_fonts=False,
        )
        return HTMLResponse(made.body, headers=_DOCS_POLICY)

    for path, page in (("/docs", swagger), ("/api/docs", swagger), ("/redoc", redoc)):
        app.add_api_route(path, page, include_in_schema=False)
