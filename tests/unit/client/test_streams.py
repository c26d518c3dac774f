"""Server-sent events from lines, and the waits between tries."""

import pytest

from auteur_client.retry import Patience, retry_after
from auteur_client.sse import ServerSent, parse_events


def test_events_are_read_with_their_ids() -> None:
    lines = [
        ": heartbeat", "",
        "event: progress", "id: e-1", "data: {", "data:  }", "",
        "data:two", "",
        "event: log", "",
        "id: e-2", "data: three", "",
        "id: e-3", "", ": heartbeat", "",
        "data: cut off",
    ]  # fmt: skip

    assert list(parse_events(lines, last_id="e-0")) == [
        ServerSent("progress", "{\n }", "e-1"),
        ServerSent("message", "two", "e-1"),
        ServerSent("message", "three", "e-2"),
        ServerSent("", "", "e-3"),
    ]


def test_waits_double_up_to_the_longest_and_end() -> None:
    patience = Patience(tries=5, first=0.1, longest=0.5)
    assert [patience.wait(failures) for failures in range(1, 6)] == [0.1, 0.2, 0.4, 0.5, None]
    assert Patience(tries=1).wait(1) is None


def test_the_servers_wish_is_followed_within_reason() -> None:
    patience = Patience(tries=3, longest=5, longest_asked=30)
    assert [patience.wait(1, advised=advised) for advised in (0, 2, 30, 3600)] == [0, 2, 30, None]
    assert patience.wait(3, advised=0) is None


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("", None), ("Sat, 21 Nov 2026 12:00:00 GMT", None)])
def test_retry_after_is_read_in_seconds(header: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": header} if header else {}) == seconds
