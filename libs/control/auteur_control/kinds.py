"""What a store of resources must know of one kind, and of no other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_control.reading import read_job
from auteur_control.resources import Malformed, R, StatusT
from auteur_lifecycle.expiry import expires_at, was_released


@dataclass(frozen=True)
class Kind(Generic[R, StatusT]):
    name: str
    read: Callable[[Mapping[str, Any]], R | Malformed[R]]
    empty_status: StatusT
    was_released: Callable[[R], bool]
    """Finished, and nobody needs it any more."""
    expires_at: Callable[[R], datetime | None]
    """None while it must stay."""


JOBS: Kind[GenerationJob, GenerationJobStatus] = Kind(
    name="GenerationJob",
    read=read_job,
    empty_status=GenerationJobStatus(),
    was_released=was_released,
    expires_at=expires_at,
)
