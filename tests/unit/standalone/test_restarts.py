"""When a part that died is started again."""

import pytest

from auteur_standalone.restarts import Run, is_failing, restart_delay

LONG = Run(0, 100)
SHORT = Run(0, 0.5)
NEVER_READY = Run(0, 100, ready=False)


@pytest.mark.parametrize(
    ("history", "delay", "failing"),
    [
        ([], 0, False),
        ([LONG], 0, False),
        ([LONG] * 9, 0, False),
        ([SHORT], 0, False),
        ([SHORT] * 2, 0.5, False),
        ([SHORT] * 3, 1, True),
        ([SHORT] * 4, 2, True),
        ([SHORT] * 20, 5, True),
        ([SHORT] * 9 + [LONG], 0, False),
        ([SHORT] * 9 + [LONG, SHORT], 0, False),
        ([NEVER_READY] * 3, 1, True),
    ],
)
def test_a_death_is_answered_at_once_and_dying_again_and_again_ever_later(
    history: list[Run], delay: float, *, failing: bool
) -> None:
    assert restart_delay(history) == delay
    assert is_failing(history) is failing
