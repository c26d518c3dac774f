"""Swagger UI and ReDoc for an application, with their scripts: machines without a way outside have them too."""

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_DOCS_ASSETS = "/docs-assets"
_DOCS_POLICY = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; worker-src blob:"  # ReDoc would fetch a logo from outside
    )
}


def install(app: FastAPI) -> None:
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
