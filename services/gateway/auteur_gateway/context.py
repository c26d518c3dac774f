"""What endpoints need, built once by `app.build` and found on the application."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from auteur_gateway.body import parse
from auteur_gateway.catalogue import Catalogue
from auteur_gateway.database.engines import Engines
from auteur_gateway.database.repository import Repository
from auteur_gateway.feed import Feeds
from auteur_gateway.generations import Generations
from auteur_gateway.hub import Hub
from auteur_gateway.projection import Projection
from auteur_gateway.settings import Settings
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.store import Store


@dataclass(frozen=True)
class Context:
    settings: Settings
    bus: Bus
    store: Store
    engines: Engines
    repository: Repository
    catalogue: Catalogue
    generations: Generations
    projection: Projection
    hub: Hub
    feeds: Feeds
    now: Clock


def context_of(connection: HTTPConnection) -> Context:
    context: Context = connection.app.state.context
    return context


async def _context(connection: HTTPConnection) -> Context:
    """A coroutine on purpose: a plain function would cost every request a trip through the thread pool."""
    return context_of(connection)


Ctx = Annotated[Context, Depends(_context)]


class StrictRequest(Request):
    """JSON as RFC 8259 has it."""

    async def json(self) -> Any:
        try:
            return parse(await self.body())
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error


class StrictRoute(APIRoute):
    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Any:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly
