"""How a bench judges what it measured."""

import pytest

from tests.bench.table import Figure


def test_beside_a_floor_the_goal_is_for_the_ratio_and_every_part_of_it_is_shown() -> None:
    figure = Figure("p50", 30, "ms", 1.5, floor=24, note="idle")
    assert figure.cells() == ("p50", "30.00 ms", "24.00 ms", "1.25 ×", "≤ 1.5 ×", "met", "idle")


def test_without_a_floor_it_is_for_what_was_measured() -> None:
    figure = Figure("RSS", 25, "MiB", 20)
    assert figure.cells() == ("RSS", "25.00 MiB", "", "", "≤ 20 MiB", "missed", "")


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("submits", 300, "/s", 0.6, floor=500, at_most=False), "met"),
        (Figure("submits", 299, "/s", 0.6, floor=500, at_most=False), "missed"),
        (Figure("submits", 1, "/s", floor=500, at_most=False), ""),
    ],
)
def test_more_may_be_better(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict
