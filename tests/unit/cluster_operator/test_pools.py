"""How many warm workers a tier keeps, each rule as a row that says why; and what is said of its readiness."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import FunctionRunnerStatus, TierReadiness, Warm
from auteur_contracts.vocabulary import Quality, Reason
from auteur_control.readiness import readiness
from auteur_operator.diagnosis import HeldUp, Node
from auteur_operator.pools import Demand, Size, Surplus, size, tiers_seen
from tests.unit.cluster_operator.making import NOW, POOL, after, node, runner

WARM = Warm(min=1, max=4, idle_seconds=300)
STARTING, READY, BUSY = WorkerState.STARTING, WorkerState.READY, WorkerState.BUSY
BROKEN, DRAINING = WorkerState.BROKEN, WorkerState.DRAINING


# ── size ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("waiting", "busy", "have", "expected", "why"),
    [
        (0, 0, 0, 1, "min is kept though nobody asks"),
        (3, 0, 1, 3, "up at once, one for each that waits"),
        (2, 1, 1, 3, "who is busy serves nobody else"),
        (50, 0, 1, 4, "max is the most"),
        (0, 1, 1, 1, "as many as are needed"),
        (50, 6, 6, 6, "max was lowered while six worked: none is taken from its job"),
    ],
)
def test_a_pool_grows_at_once(waiting: int, busy: int, have: int, expected: int, why: str) -> None:
    assert size(WARM, Demand(waiting, busy), have, None, NOW) == Size(expected), why


def test_a_pool_without_a_minimum_starts_empty() -> None:
    assert size(Warm(min=0, max=4), Demand(0, 0), 0, None, NOW) == Size(0)


def test_a_minimum_above_the_maximum_is_no_more_than_the_maximum() -> None:
    assert size(Warm(min=5, max=2), Demand(0, 0), 0, None, NOW) == Size(2)


def test_a_surplus_is_kept_until_it_was_idle_for_long_enough() -> None:
    begun = size(WARM, Demand(0, 0), 3, None, NOW)
    assert begun == Size(3, Surplus(NOW, 1), after(300))
    still = size(WARM, Demand(0, 0), 3, begun.surplus, after(299))
    assert still == begun
    assert size(WARM, Demand(0, 0), 3, still.surplus, after(300)) == Size(1)


def test_idle_for_no_time_is_down_at_once() -> None:
    assert size(Warm(min=0, max=4, idle_seconds=0), Demand(0, 0), 3, None, NOW) == Size(0)


def test_demand_in_between_ends_the_surplus() -> None:
    assert size(WARM, Demand(2, 1), 3, Surplus(NOW, 1), after(299)) == Size(3)


def test_workers_that_worked_in_between_were_not_idle() -> None:
    """Four workers, and never more than three at work: after five minutes one goes, and not three."""
    pressed = size(WARM, Demand(0, 3), 4, Surplus(NOW, 1), after(100))
    assert pressed == Size(4, Surplus(NOW, 3), after(300))
    quiet = size(WARM, Demand(0, 0), 4, pressed.surplus, after(300))
    assert quiet == Size(3, Surplus(after(300), 1), after(600))
    assert size(WARM, Demand(0, 0), 3, quiet.surplus, after(600)) == Size(1)


def test_a_lowered_maximum_does_not_wait_for_idleness_and_spares_the_busy() -> None:
    lowered = Warm(min=0, max=2, idle_seconds=300)
    assert size(lowered, Demand(0, 0), 5, None, NOW) == Size(2, Surplus(NOW, 0), after(300))
    assert size(lowered, Demand(0, 3), 5, None, NOW) == Size(3)
    assert size(lowered, Demand(0, 0), 2, Surplus(NOW, 0), after(300)) == Size(0)


@pytest.mark.parametrize(
    ("waiting", "busy", "expected", "why"),
    [
        (0, 0, 0, "idle workers make room, those of the minimum too"),
        (0, 2, 2, "busy ones stay"),
        (1, 2, 3, "and those that others wait for"),
    ],
)
def test_under_pressure_a_pool_gives_up_its_idle_workers_at_once(
    waiting: int, busy: int, expected: int, why: str
) -> None:
    assert size(WARM, Demand(waiting, busy, under_pressure=True), 4, None, NOW) == Size(expected), why


def test_a_pool_grows_again_when_nobody_is_under_pressure_any_more() -> None:
    assert size(WARM, Demand(0, 0, under_pressure=True), 1, None, NOW) == Size(0)
    assert size(WARM, Demand(0, 0), 0, None, after(10)) == Size(1)


looks = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans(), st.integers(0, 200)), min_size=1, max_size=20
)


@given(st.integers(0, 5), st.integers(0, 5), looks)
def test_whatever_happens_the_busy_stay_and_the_needed_come(
    least: int, most: int, seen: list[tuple[int, int, bool, int]]
) -> None:
    warm = Warm(min=least, max=most, idle_seconds=300)
    have, surplus, now = 0, None, NOW
    for waiting, busy, under_pressure, seconds in seen:
        now = _later(now, seconds)
        found = size(warm, Demand(waiting, busy, under_pressure), have, surplus, now)
        assert found.replicas >= busy
        assert found.replicas >= min(busy + waiting, most)
        assert found.replicas >= (0 if under_pressure else min(least, most))
        assert found.replicas <= max(most, busy)
        assert (found.surplus is None) is (found.again_at is None)
        assert found.again_at is None or found.again_at > now
        # Looked at again in the same moment nothing changes.
        assert size(warm, Demand(waiting, busy, under_pressure), found.replicas, found.surplus, now) == found
        have, surplus = found.replicas, found.surplus


def _later(then: datetime, seconds: int) -> datetime:
    return after((then - NOW).total_seconds() + seconds)


# ── readiness ─────────────────────────────────────────────────────────────────────────────────────────────────────────

PULL = HeldUp(Reason.IMAGE_PULL_FAILED, "The image cannot be pulled.")


def beat(state: WorkerState, *, pool: str = POOL, message: str = "", worker: str = "w") -> Heartbeat:
    return Heartbeat(worker=worker, pool=pool, runner="painter", state=state, message=message)


def tier(**wanted: object) -> dict[str, object]:
    return {"quality": "standard", "pipeline": "tiny", **wanted}


CARD, SMALL = node("a", gigabytes=24), node("b", gigabytes=12)


@pytest.mark.parametrize(
    ("wanted", "beats", "nodes", "held", "message", "why"),
    [
        ({}, [READY], [], None, "", "a worker waits for work"),
        ({}, [BUSY], [], None, "", "its only worker works"),
        ({}, [READY, BROKEN], [], None, "", "one of two is enough"),
        ({}, [READY], [], PULL, "", "another pod of it is held up"),
        ({}, [STARTING], [], None, "its worker is starting", "none serves yet"),
        ({}, [DRAINING], [], None, "its worker is starting", "the one that leaves makes room for the next"),
        ({}, [], [], None, "no worker of it is running", "nothing is heard"),
        ({}, [], [], PULL, "The image cannot be pulled.", "its pod says more"),
        ({}, [BROKEN], [], PULL, "its setup failed: no model", "what it said itself says most"),
        ({"warm": {"min": 0}}, [], [], None, "", "it is started when somebody asks"),
        ({"warm": {"min": 0}}, [BROKEN], [], None, "its setup failed: no model", "it was, and could not"),
        ({"vramGigabytes": 24, "warm": {"min": 0}}, [], [SMALL, CARD], None, "", "a node could take it"),
        (
            {"vramGigabytes": 24, "warm": {"min": 0}},
            [],
            [SMALL, node()],
            None,
            "needs a GPU with 24 GB; the largest of the cluster has 12 GB",
            "no card is large enough",
        ),
        (
            {"vramGigabytes": 10.5},
            [],
            [node()],
            None,
            "needs a GPU with 10.5 GB; no node of the cluster has one",
            "no card at all",
        ),
        ({"vramGigabytes": 24}, [READY], [], None, "", "whoever serves has one, whatever labels say"),
        ({"vramGigabytes": 24, "warm": {"min": 0}}, [], None, None, "", "GPUs are claimed: labels tell nothing"),
    ],
)
def test_what_is_said_of_a_tier(
    wanted: dict[str, object],
    beats: list[WorkerState],
    nodes: list[Node] | None,
    held: HeldUp | None,
    message: str,
    why: str,
) -> None:
    heard = [beat(state, message="no model" if state is BROKEN else "") for state in beats]
    held_up = {Quality.STANDARD: held} if held else {}
    found = readiness(tiers_seen(runner(tiers=[tier(**wanted)]), heard, nodes, held_up))
    assert found == FunctionRunnerStatus(
        ready=not message,
        message=message,
        tiers=(TierReadiness(quality=Quality.STANDARD, ready=not message, message=message),),
        workers_ready=beats.count(READY),
        workers_busy=beats.count(BUSY),
    ), why


def test_a_runner_without_an_image_is_not_ready() -> None:
    found = readiness(tiers_seen(runner(image=""), [], [], {}))
    assert (found.ready, found.message) == (False, "spec.image is empty: a cluster starts workers from it")


def test_a_runner_is_ready_when_one_of_its_tiers_is_and_each_tier_says_its_own_trouble() -> None:
    made = runner(tiers=[tier(quality="draft"), tier(), tier(quality="high", warm={"min": 0})])
    assert readiness(tiers_seen(made, [], [], {Quality.STANDARD: PULL})) == FunctionRunnerStatus(
        ready=True,
        message="",
        tiers=(
            TierReadiness(quality=Quality.DRAFT, ready=False, message="no worker of it is running"),
            TierReadiness(quality=Quality.STANDARD, ready=False, message="The image cannot be pulled."),
            TierReadiness(quality=Quality.HIGH, ready=True),
        ),
    )


def test_workers_of_another_pool_are_not_counted() -> None:
    """A namesake in another namespace, and another tier's."""
    elsewhere = [beat(READY, pool="other_painter_standard"), beat(BUSY, pool="studio_painter_draft")]
    found = readiness(tiers_seen(runner(), elsewhere, [], {}))
    assert (found.ready, found.workers_ready, found.workers_busy) == (False, 0, 0)


def test_a_long_trouble_can_still_be_stored() -> None:
    found = readiness(tiers_seen(runner(), [beat(BROKEN, message="x" * 5_000)], [], {}))
    assert len(found.message) == 512
    assert FunctionRunnerStatus.model_validate_json(found.model_dump_json()) == found
