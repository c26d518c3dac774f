"""`/` (the page, or a welcome in JSON) and `/asyncapi.json`."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from auteur_contracts.web.http import WelcomeReply
from auteur_gateway import asyncapi
from auteur_gateway.context import Ctx
from auteur_web.app import auteur_version

router = APIRouter(tags=["pages"])


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
