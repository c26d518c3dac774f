"""What endpoints need, built once by `app.running` and found on the application."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from auteur_gateway.catalogue import Catalogue
from auteur_gateway.database.database import Database
from auteur_gateway.feed import Feeds
from auteur_gateway.generations import Generations
from auteur_gateway.hub import Hub
from auteur_gateway.media import Media
from auteur_gateway.projection.projection import Projection
from auteur_gateway.resources import Resources
from auteur_gateway.settings import Settings
from auteur_kit.bus import Bus
from auteur_kit.clock import Clock
from auteur_kit.store import Store


@dataclass(frozen=True)
class Context:
    settings: Settings
    bus: Bus
    store: Store
    database: Database
    catalogue: Catalogue
    projection: Projection
    generations: Generations
    resources: Resources
    media: Media
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
