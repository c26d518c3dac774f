"""Cursors: written and read back, compared within an epoch, never trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_gateway.cursor import Cursor, Place, places

_sequences = st.integers(0, 10**18 - 1)
_places = _sequences.map(Place) | st.builds(Place, _sequences, st.integers(1, 9999))


@given(st.from_regex(r"[0-9a-f]{12}", fullmatch=True), _places)
def test_a_cursor_is_read_back_as_it_was_written(epoch: str, place: Place) -> None:
    assert Cursor.parse(str(Cursor(epoch, place))) == Cursor(epoch, place)


@pytest.mark.parametrize("text", ["", "x", "-1", "a-", "a-1.", "a--1", "a-1.2.3", "a-1 ", "ä-1", "a-" + "9" * 30])
def test_what_we_never_sent_is_no_cursor(text: str) -> None:
    assert Cursor.parse(text) is None


def test_the_messages_of_an_event_come_in_order_and_before_the_next_event() -> None:
    first, second = places(7, 2)
    (alone,) = places(8, 1)
    assert Place(6) < first < second < Place(7) < alone


def test_an_event_that_was_seen_in_part_is_read_again() -> None:
    assert Cursor("e", places(7, 2)[0]).replay_after == 6
    assert Cursor("e", Place(7)).replay_after == 7
    assert [str(Cursor("e", place)) for place in (*places(7, 2), *places(8, 1))] == ["e-7.1", "e-7.2", "e-8"]
