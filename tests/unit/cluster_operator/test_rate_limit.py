"""The times at which keys may call the API server."""

from auteur_operator.rate_limit import RateLimit


def test_the_first_key_may_call_at_once_and_the_others_one_interval_after_another() -> None:
    limit = RateLimit(0.5)
    assert [limit.slot(key, 10.0) for key in "abc"] == [10.0, 10.5, 11.0]


def test_a_key_that_asks_too_early_keeps_its_slot() -> None:
    limit = RateLimit(0.5)
    limit.slot("a", 10.0)
    assert limit.slot("b", 10.0) == 10.5
    assert limit.slot("b", 10.4) == 10.5
    assert limit.slot("b", 10.6) == 10.5, "its time has come"
    assert limit.slot("b", 10.6) == 11.0, "which uses the slot up"


def test_no_key_waits_after_a_quiet_time() -> None:
    limit = RateLimit(0.5)
    limit.slot("a", 10.0)
    assert limit.slot("b", 20.0) == 20.0


def test_a_forgotten_key_reserves_a_new_slot() -> None:
    limit = RateLimit(0.5)
    limit.slot("a", 10.0)
    limit.slot("b", 10.0)
    limit.forget("b")
    assert limit.slot("b", 10.1) == 11.0
