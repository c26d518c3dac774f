"""The waiting line of one pool: by priority, then by age. A small sorted list, so that positions are exact."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from auteur_contracts.resources import GenerationJob

Place = tuple[int, float, str]
"""(priority rank, creation time as a Unix timestamp, uid)."""


def place_of(job: GenerationJob) -> Place:
    created = job.metadata.creation_timestamp
    return job.spec.priority.rank, created.timestamp() if created else 0.0, job.metadata.uid


@dataclass
class Line:
    _places: list[Place] = field(default_factory=list)
    _by_uid: dict[str, Place] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, uid: str) -> bool:
        return uid in self._by_uid

    def join(self, job: GenerationJob) -> None:
        """Joining twice keeps the first place."""
        if job.metadata.uid not in self._by_uid:
            place = place_of(job)
            insort(self._places, place)
            self._by_uid[job.metadata.uid] = place

    def leave(self, uid: str) -> None:
        place = self._by_uid.pop(uid, None)
        if place is not None:
            del self._places[bisect_left(self._places, place)]

    def first(self) -> str | None:
        """The uid whose turn it is."""
        return self._places[0][2] if self._places else None

    def position(self, uid: str) -> int | None:
        """1 for the first; None for one that does not wait here."""
        place = self._by_uid.get(uid)
        return None if place is None else bisect_left(self._places, place) + 1

    def uids(self) -> list[str]:
        return [uid for _, _, uid in self._places]
