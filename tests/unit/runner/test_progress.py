"""Progress is one fraction that never falls, whatever phases an author opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.resources import Progress
from auteur_runner.progress import Shown, open_span, worth_showing

phases = st.tuples(st.none() | st.integers(0, 20), st.none() | st.floats(0, 1))


@given(st.lists(phases, max_size=12))
def test_the_fraction_never_falls_and_never_leaves_zero_to_one(opened: list[tuple[int | None, float | None]]) -> None:
    seen, reached = [0.0], 0.0
    for number, (steps, weight) in enumerate(opened):
        span = open_span(f"phase {number}", reached=reached, steps=steps, weight=weight, now=0)
        seen.append(span.progress(0).fraction)
        for _ in range((steps or 0) + 2):  # more steps than announced
            span = span.advanced()
            seen.append(span.progress(1).fraction)
        reached = span.end
    assert seen == sorted(seen)
    assert 0 <= seen[-1] <= 1


def test_weights_are_shares_of_the_whole() -> None:
    encode = open_span("encode", reached=0, steps=None, weight=0.1, now=0)
    denoise = open_span("denoise", reached=encode.end, steps=4, weight=0.8, now=0)
    for _ in range(2):
        denoise = denoise.advanced()
    assert round(denoise.fraction, 6) == 0.5
    assert round(denoise.end, 6) == 0.9


def test_a_step_knows_how_long_the_rest_of_its_phase_takes() -> None:
    span = open_span("denoise", reached=0, steps=10, weight=None, now=100.0)
    for _ in range(4):
        span = span.advanced()
    assert span.progress(102.0) == Progress(phase="denoise", fraction=0.36, step=4, steps=10, eta_seconds=3.0)


@pytest.mark.parametrize(
    ("step", "phase", "now", "shown"),
    [
        (4, "denoise", 10.05, False),
        (5, "denoise", 10.125, True),
        (500, "denoise", 10.01, True),
        (0, "decode", 10.01, True),
        (None, "denoise", 10.01, False),
    ],
)
def test_the_first_and_the_last_of_a_phase_are_always_shown(
    step: int | None,
    phase: str,
    now: float,
    shown: bool,  # noqa: FBT001 -- pytest passes it by name
) -> None:
    before = Shown("denoise", 3, at=10.0)
    assert worth_showing(before, phase, step, 500, now) is shown


def test_the_very_first_is_shown_and_the_last_once() -> None:
    assert worth_showing(None, "denoise", 0, 500, 0)
    assert not worth_showing(Shown("denoise", 500, at=10.0), "denoise", 500, 500, 10.01)
