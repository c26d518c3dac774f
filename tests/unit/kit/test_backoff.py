from auteur_kit.backoff import Backoff


def test_a_pause_doubles_up_to_its_limit_and_begins_anew_after_success() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next() == 0.5
