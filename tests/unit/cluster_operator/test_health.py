"""A replica is alive while its watches show the Lease renewed and its event loop is prompt."""

import pytest

from auteur_operator.health import Health


@pytest.mark.parametrize(
    ("seen", "lag", "now", "why_not", "because"),
    [
        (0.0, 0.0, 150.0, "", "it began a moment ago, and has seen nothing yet"),
        (0.0, 0.0, 161.0, "no watch has shown the Lease for 61 s", "it has never seen it"),
        (150.0, 0.0, 210.0, "", "a minute of silence is a watch that was interrupted"),
        (150.0, 0.0, 211.0, "no watch has shown the Lease for 61 s", "more is a watch that is dead"),
        (50.0, 0.0, 150.0, "", "what was seen before it began counts from its beginning"),
        (200.0, 10.0, 201.0, "", "a loop that is late may catch up"),
        (200.0, 12.34, 201.0, "the event loop was 12.3 s late", "one that is later serves nobody"),
    ],
)
def test_why_it_is_not_alive(seen: float, lag: float, now: float, why_not: str, because: str) -> None:
    health = Health(started=100.0, lease_seen=seen, loop_lag=lag)
    assert health.why_not_alive(now) == why_not, because


def test_it_is_ready_for_nothing_before_it_has_reached_the_api_server() -> None:
    assert Health().waits_for == "the API server"
