"""What can be made: the namespace's FunctionRunners, read from a document on the bus that operator or engine keeps."""

import asyncio

from pydantic import TypeAdapter, ValidationError

from auteur_contracts import names
from auteur_contracts.errors import Code, Unavailable
from auteur_contracts.resources import FunctionRunner
from auteur_kit.bus import Bus
from auteur_kit.logs import get_logger

log = get_logger()
_REFRESH = 1.0
_runners: TypeAdapter[tuple[FunctionRunner, ...]] = TypeAdapter(tuple[FunctionRunner, ...])


class Catalogue:
    """Refreshed every second. What was read stays while the bus is away."""

    def __init__(self, bus: Bus, namespace: str) -> None:
        self._bus = bus
        self._namespace = namespace
        self._document = b""
        self.runners: tuple[FunctionRunner, ...] = ()

    async def run(self) -> None:
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.debug("catalogue not read", error=str(error))
            await asyncio.sleep(_REFRESH)

    async def refresh(self) -> None:
        document = await self._bus.get_document(names.CATALOGUE_BUCKET, names.catalogue_key(self._namespace))
        if document is None or document == self._document:
            return
        self._document = document
        try:
            self.runners = _runners.validate_json(document)
        except ValidationError as error:
            log.warning("catalogue not understood", error=str(error))

    def require(self) -> tuple[FunctionRunner, ...]:
        """Raises Unavailable while nothing is registered."""
        if not self.runners:
            raise Unavailable(
                "no runner is registered yet: wait for the engine to start, or add one with `auteur runners add`",
                code=Code.CATALOGUE_EMPTY,
            )
        return self.runners
