"""What can be made: the namespace's catalogue, read from a document on the bus that the control plane keeps."""

import asyncio

from pydantic import ValidationError

from auteur_contracts import catalogue
from auteur_contracts.catalogue import CatalogueDocument
from auteur_contracts.errors import Code, Unavailable
from auteur_contracts.resources import FunctionRunner
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger

log = get_logger()
_REFRESH_SECONDS = 1.0


class Catalogue:
    """Refreshed every second. What was read stays while the bus is away."""

    def __init__(self, bus: Bus, namespace: str) -> None:
        self._bus = bus
        self._key = catalogue.key(namespace)
        self._read = b""
        self._document = CatalogueDocument()

    @property
    def runners(self) -> tuple[FunctionRunner, ...]:
        return self._document.runners

    async def run(self) -> None:
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.debug("catalogue not read", error=str(error))
            await asyncio.sleep(_REFRESH_SECONDS)

    async def refresh(self) -> None:
        document = await self._bus.get_document(catalogue.BUCKET, self._key)
        if document is None or document == self._read:
            return
        self._read = document
        try:
            self._document = catalogue.decode(document)
        except ValidationError as error:
            log.warning("catalogue not understood", error=str(error))

    def require(self) -> CatalogueDocument:
        """Raises Unavailable while nothing is registered."""
        if not self._document.runners:
            raise Unavailable(
                "no runner is registered yet: wait for the engine to start, or add one with `auteur runners add`",
                code=Code.CATALOGUE_EMPTY,
            )
        return self._document
