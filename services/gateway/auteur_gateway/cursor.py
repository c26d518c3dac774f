"""Where a client stands in the event stream: `<epoch>-<sequence>`, with `.<k>` inside an event of several messages."""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

_FORM = re.compile(r"^([0-9A-Za-z]{1,64})-([0-9]{1,18})(?:\.([0-9]{1,4}))?$")
_WHOLE = 10_000


class Place(NamedTuple):
    """A place within one epoch; places compare in the order of the stream."""

    sequence: int
    part: int = _WHOLE
    """Which message of the event, from 1; an event of one message has no parts."""


@dataclass(frozen=True)
class Cursor:
    epoch: str
    """Of the stream: sequences of another epoch mean other events."""
    place: Place

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None for anything that no server of ours ever sent."""
        found = _FORM.match(text)
        if found is None:
            return None
        epoch, sequence, part = found.groups()
        return cls(epoch, Place(int(sequence), int(part) if part else _WHOLE))

    def __str__(self) -> str:
        part = "" if self.place.part == _WHOLE else f".{self.place.part}"
        return f"{self.epoch}-{self.place.sequence}{part}"

    @property
    def replay_after(self) -> int:
        """The sequence after which a replay must start: an event that was seen in part is read again."""
        return self.place.sequence if self.place.part == _WHOLE else self.place.sequence - 1


def places(sequence: int, count: int) -> tuple[Place, ...]:
    """The places of the `count` messages that one event made."""
    if count == 1:
        return (Place(sequence),)
    return tuple(Place(sequence, part) for part in range(1, count + 1))
