"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) from lines of text. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSent:
    event: str
    data: str
    id: str
    """The last id seen on the stream: where to resume after."""

    @property
    def is_place(self) -> bool:
        """An id without data: no event, but from here on the stream can be resumed."""
        return not self.event


def parse_events(lines: Iterable[str], last_id: str = "") -> Iterator[ServerSent]:
    """Complete events and places only: what is cut off by a lost connection is not an event and comes again on
    resume."""
    event, data, told_id = "", list[str](), last_id
    for line in lines:
        if not line:
            if data:
                yield ServerSent(event=event or "message", data="\n".join(data), id=last_id)
            elif last_id != told_id:
                yield ServerSent(event="", data="", id=last_id)
            event, data, told_id = "", [], last_id
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                event = value
            case "data":
                data.append(value)
            case "id":
                last_id = value
            case _:
                pass  # comments (heartbeats) and fields of others
