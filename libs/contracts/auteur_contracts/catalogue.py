"""The catalogue: what a namespace can have made, as one document that the control plane writes and services read.

It can be lost and is written again; a reader that finds none answers that nothing is registered yet.
"""

from collections.abc import Sequence

from pydantic import TypeAdapter

from auteur_contracts.model import TolerantModel
from auteur_contracts.resources import FunctionRunner

BUCKET = "catalogue"
"""The key-value bucket of the documents."""
NOMINAL_SHARE = 0.9
"""A card counts from 0.9 × its nominal size: a "24 GB" card has 22.5 GiB to offer."""


def key(namespace: str) -> str:
    """Where the bucket keeps a namespace's document."""
    return f"runners.{namespace}"


class Platform(TolerantModel):
    """What a deployment acts on. A field that it does not act on is refused by name, never ignored."""

    queues: bool
    """Kueue queues: a cluster's business."""
    params_from: bool
    """Parameters read out of other jobs' JSON outputs."""
    pods: bool = False
    """Workers are pods: they have images, nodes, volumes and a pool that grows and shrinks."""


UNKNOWN = Platform(queues=True, params_from=True, pods=True)
"""Of a writer that does not say what it acts on: a reader refuses nothing early, the control plane decides."""


class CatalogueDocument(TolerantModel):
    platform: Platform = UNKNOWN
    runners: tuple[FunctionRunner, ...] = ()


_list: TypeAdapter[tuple[FunctionRunner, ...]] = TypeAdapter(tuple[FunctionRunner, ...])


def encode(platform: Platform, runners: Sequence[FunctionRunner]) -> bytes:
    document = CatalogueDocument(platform=platform, runners=tuple(runners))
    return document.model_dump_json(exclude_none=True).encode()


def decode(document: bytes) -> CatalogueDocument:
    """Also the bare list of runners that older writers put. Raises pydantic's ValidationError on anything else."""
    if document.lstrip().startswith(b"["):
        return CatalogueDocument(runners=_list.validate_json(document))
    return CatalogueDocument.model_validate_json(document)


def counts_as(memory_gigabytes: float, nominal_gigabytes: float) -> bool:
    """Whether a card of this much memory counts as one of a nominal size."""
    return memory_gigabytes >= NOMINAL_SHARE * nominal_gigabytes
