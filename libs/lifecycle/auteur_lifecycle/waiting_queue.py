"""The waiting line of one pool: by priority, then by age. A small sorted list, so that positions are exact."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import NamedTuple

from auteur_contracts.resources import GenerationJob


class Place(NamedTuple):
    """Ordered as they stand: the smaller goes first."""

    rank: int
    created: float
    """Unix time. On a cluster whole seconds."""
    arrival: int
    """Which of all it was to join: decides between those of one second."""
    uid: str


def place_of(job: GenerationJob, arrival: int = 0) -> Place:
    created = job.metadata.creation_timestamp
    return Place(job.spec.priority.rank, created.timestamp() if created else 0.0, arrival, job.metadata.uid)


@dataclass
class WaitingQueue:
    _places: list[Place] = field(default_factory=list)
    _by_uid: dict[str, Place] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, uid: str) -> bool:
        return uid in self._by_uid

    def join(self, job: GenerationJob, arrival: int = 0) -> None:
        """Joining twice keeps the first place."""
        if job.metadata.uid not in self._by_uid:
            place = place_of(job, arrival)
            insort(self._places, place)
            self._by_uid[job.metadata.uid] = place

    def leave(self, uid: str) -> None:
        place = self._by_uid.pop(uid, None)
        if place is not None:
            del self._places[bisect_left(self._places, place)]

    @property
    def head(self) -> Place | None:
        """Whose turn it is."""
        return self._places[0] if self._places else None

    def position(self, uid: str) -> int | None:
        """1 for the first; None for one that does not wait here."""
        place = self._by_uid.get(uid)
        return None if place is None else bisect_left(self._places, place) + 1

    def uids(self, most: int | None = None) -> list[str]:
        """As they stand; the first of them."""
        return [place.uid for place in self._places[:most]]
