"""What can be made, as the gateway reads it: a document for each namespace, put on the bus when it changes."""

import time

from auteur_contracts import catalogue
from auteur_control.carriers import Carriers
from auteur_kit.bus import Bus

CATALOGUE_EVERY = 0.5
_REPEAT = 2.0
"""NATS forgets the catalogue when it restarts (it lies in memory), so it is put again."""


class CataloguePublisher:
    def __init__(self, bus: Bus, carriers: Carriers) -> None:
        self._bus = bus
        self._carriers = carriers
        self._said: dict[str, bytes] = {}
        self._said_at = 0.0

    async def publish(self) -> None:
        now = time.monotonic()
        again = now - self._said_at > _REPEAT
        for namespace, runners in sorted(self._carriers.catalogues().items()):
            document = catalogue.encode(self._carriers.platform, runners)
            if again or self._said.get(namespace) != document:
                await self._bus.put_document(catalogue.BUCKET, catalogue.key(namespace), document)
                self._said[namespace] = document
        if again:
            self._said_at = now
