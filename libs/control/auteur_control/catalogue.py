"""What can be made, as the gateway reads it: a document for each namespace, put on the bus when it changes."""

import asyncio
import contextlib
import time

from pydantic import TypeAdapter

from auteur_contracts import names
from auteur_contracts.errors import Unavailable
from auteur_contracts.resources import FunctionRunner
from auteur_control.carriers import Carriers
from auteur_kit.bus import Bus

_document: TypeAdapter[tuple[FunctionRunner, ...]] = TypeAdapter(tuple[FunctionRunner, ...])
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
            document = _document.dump_json(tuple(runners), exclude_none=True)
            if again or said.get(namespace) != document:
                with contextlib.suppress(Unavailable):
                    await bus.put_document(names.CATALOGUE_BUCKET, names.catalogue_key(namespace), document)
                    said[namespace] = document
        if again:
            said_at = now
        await asyncio.sleep(_EVERY)
