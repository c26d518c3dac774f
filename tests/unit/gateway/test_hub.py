"""Who hears what: sockets by project, whatever a fact is about."""

from datetime import UTC, datetime
from typing import Any, Literal, cast

from auteur_contracts.events import Envelope, EventData, Progressed
from auteur_contracts.resources import Progress
from auteur_gateway.hub import Hub
from auteur_kit.bus import Bus, EventLog


class FilmAdvanced(EventData):
    """Of a kind that has no messages for browsers."""

    kind: Literal["film"] = "film"
    fact: Literal["advanced"] = "advanced"


def envelope(data: Any) -> Envelope:
    return Envelope.model_construct(
        id="e",
        source="engine",
        time=datetime(2026, 11, 21, tzinfo=UTC),
        namespace="default",
        project="demo",
        name="star",
        uid="u-1",
        node_id="",
        data=data,
    )


def test_a_fact_without_messages_says_nothing_and_the_next_one_is_heard() -> None:
    hub = Hub(EventLog(cast("Bus", None)), queue_limit=10)
    mine, other = hub.subscribe("demo"), hub.subscribe("other")
    hub.publish(envelope(FilmAdvanced()), "epoch", 1)
    hub.publish(envelope(Progressed(attempt=1, progress=Progress(phase="denoise", fraction=0.5))), "epoch", 2)
    assert [(frame.kind, frame.cursor) for frame in mine.take()] == [("progress", "epoch-2")]
    assert other.take() == []
