"""What can be made, as the gateway reads it: a document for each namespace, put on the bus when it changes."""

import asyncio
import contextlib
import time

from auteur_contracts import catalogue
from auteur_contracts.errors import Unavailable
from auteur_control.carriers import Carriers
from auteur_kit.bus import Bus

_EVERY = 0.5
_REPEAT = 2.0
"""NATS forgets the catalogue when it restarts (it lies in memory), so it is put again."""


async def publish_catalogues(bus: Bus, carriers: Carriers) -> None:
    """Until cancelled."""
    said: dict[str, bytes] = {}
    said_at = 0.0
    while True:
        now = time.monotonic()
        again = now - said_at > _REPEAT
        for namespace, runners in sorted(carriers.catalogues().items()):
            document = catalogue.encode(carriers.platform, runners)
            if again or said.get(namespace) != document:
                with contextlib.suppress(Unavailable):
                    await bus.put_document(catalogue.BUCKET, catalogue.key(namespace), document)
                    said[namespace] = document
        if again:
            said_at = now
        await asyncio.sleep(_EVERY)
