"""Pace: who may ask when."""

from auteur_operator.pace import Pace


def test_the_first_asks_at_once_and_the_others_in_their_slots() -> None:
    pace = Pace(0.5)
    assert [pace.slot(key, 10.0) for key in "abc"] == [10.0, 10.5, 11.0]


def test_who_asks_too_early_keeps_its_slot() -> None:
    pace = Pace(0.5)
    pace.slot("a", 10.0)
    assert pace.slot("b", 10.0) == 10.5
    assert pace.slot("b", 10.4) == 10.5
    assert pace.slot("b", 10.6) == 10.5, "now it may"
    assert pace.slot("b", 10.6) == 11.0, "and the next time it stands in line again"


def test_nobody_waits_after_a_quiet_time() -> None:
    pace = Pace(0.5)
    pace.slot("a", 10.0)
    assert pace.slot("b", 20.0) == 20.0


def test_who_is_gone_leaves_its_slot() -> None:
    pace = Pace(0.5)
    pace.slot("a", 10.0)
    pace.slot("b", 10.0)
    pace.forget("b")
    assert pace.slot("b", 10.1) == 11.0
