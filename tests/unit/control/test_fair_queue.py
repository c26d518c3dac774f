"""Whose turn it is: every rule as a story, then the promise between namespaces for any crowd."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.resources import GenerationJob
from auteur_control.fair_queue import NO_POOL, FairQueue, Limits, Placement, Supply, Turn
from auteur_control.resources import Key
from tests.unit.cluster_operator.making import POOL, after, job, runner, waiting

WORKER, OWN_POD = Placement.WORKER, Placement.POD


def one(uid: str, namespace: str = "film", *, age: float = 0, priority: str = "normal", **spec: Any) -> GenerationJob:
    return waiting(uid, uid=uid, namespace=namespace, created=after(-age), priority=priority, **spec)


def queue_of(*jobs: GenerationJob, limit: int = 100) -> FairQueue:
    made = FairQueue(Limits(per_namespace=limit))
    for each in jobs:
        made.join(each)
    return made


def no_pool(_pool: str) -> Supply:
    return NO_POOL


def take(queue: FairQueue, supply: Supply = NO_POOL) -> Turn | None:
    """As the operator does: who gets a turn leaves the queue and is under way."""
    turn = queue.next(lambda _: supply)
    if turn is not None:
        queue.leave(turn.uid)
        queue.begin(turn.key[0], turn.uid)
    return turn


def all_of(queue: FairQueue, supply: Supply = NO_POOL) -> list[str]:
    return [turn.uid for turn in iter(lambda: take(queue, supply), None)]


def test_all_namespaces_together_have_no_more_active_jobs_than_the_machine_takes() -> None:
    queue = FairQueue(Limits(total=2))
    for each in (one("a", age=3), one("b", "press", age=2), one("c", "radio", age=1)):
        queue.join(each)
    assert all_of(queue) == ["a", "b"]
    queue.end("film", "a")
    queue.end("film", "a")
    assert all_of(queue) == ["c"]


# ── one namespace ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_waits() -> None:
    assert queue_of().next(no_pool) is None


def test_a_job_without_a_pool_gets_a_pod_of_its_own() -> None:
    assert queue_of(one("a")).next(no_pool) == Turn(("film", "a"), "a", POOL, OWN_POD)


def test_a_job_without_a_plan_does_not_stand_in_line() -> None:
    unplanned = job()
    queue = queue_of(unplanned)
    assert (queue.next(no_pool), queue.position(unplanned)) == (None, None)


def test_priority_goes_before_age() -> None:
    queue = queue_of(
        one("old", age=60), one("young"), one("urgent", priority="high"), one("idle", age=600, priority="low")
    )
    assert all_of(queue) == ["urgent", "old", "young", "idle"]


def test_joining_twice_keeps_the_first_place_and_counts_once() -> None:
    first = one("a", age=60)
    queue = queue_of(first, one("b", age=30), first)
    assert (queue.waiting(POOL), queue.position(first)) == (2, 1)


def test_who_left_is_forgotten_and_may_leave_again() -> None:
    first, second = one("a", age=60), one("b")
    queue = queue_of(first, second)
    queue.leave("a")
    queue.leave("a")
    assert (queue.waiting(POOL), queue.position(first), queue.position(second)) == (1, None, 1)
    queue.leave("b")
    assert (queue.waiting(POOL), queue.next(no_pool)) == (0, None)


def test_a_namespace_has_no_more_jobs_under_way_than_its_limit() -> None:
    queue = queue_of(one("a", age=3), one("b", age=2), one("c", age=1), limit=2)
    assert all_of(queue) == ["a", "b"]
    assert (queue.active("film"), queue.is_full("film")) == (2, True)
    queue.end("film", "a")
    assert not queue.is_full("film")
    assert all_of(queue) == ["c"]


def test_beginning_and_ending_twice_count_once() -> None:
    queue = queue_of(limit=2)
    queue.begin("film", "a")
    queue.begin("film", "a")
    assert queue.active("film") == 1
    queue.end("film", "a")
    queue.end("film", "a")
    assert queue.active("film") == 0


# ── who carries it ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("crowd", "supply", "placements", "why"),
    [
        (1, Supply(free=1, coming=0), [WORKER], "a warm worker is free"),
        (1, Supply(free=0, coming=1), [], "one is coming for the only one who waits"),
        (2, Supply(free=0, coming=2), [], "and so many that all get one"),
        (3, Supply(free=0, coming=2), [OWN_POD], "one too many: the first has waited longest, the others get workers"),
        (2, Supply(free=0, coming=0), [OWN_POD, OWN_POD], "the pool is as large as it may be, and busy"),
        (2, NO_POOL, [OWN_POD, OWN_POD], "the tier keeps no workers warm"),
        (1, Supply(free=-1, coming=0), [OWN_POD], "more orders are under way than workers are left"),
    ],
)
def test_a_warm_worker_then_one_that_comes_then_a_pod(
    crowd: int, supply: Supply, placements: list[Placement], why: str
) -> None:
    queue = queue_of(*(one(f"j{number}") for number in range(crowd)))
    found = [turn.placement for turn in iter(lambda: take(queue, supply), None)]
    assert found == placements, why


def test_as_many_get_a_warm_worker_as_there_are_and_the_rest_pods() -> None:
    queue = queue_of(*(one(f"j{number}", age=10 - number) for number in range(4)))
    free = 2
    found: list[tuple[str, Placement]] = []
    while (turn := take(queue, Supply(free, 0))) is not None:
        found.append((turn.uid, turn.placement))
        free -= turn.placement is WORKER
    assert found == [("j0", WORKER), ("j1", WORKER), ("j2", OWN_POD), ("j3", OWN_POD)]


def test_a_job_with_a_queue_gets_a_pod_though_a_worker_is_free() -> None:
    queue = queue_of(one("queued", queue="team-a"))
    assert queue.next(lambda _: Supply(free=3, coming=3)) == Turn(("film", "queued"), "queued", POOL, OWN_POD)


def test_a_job_with_a_queue_is_no_demand_for_warm_workers() -> None:
    queue = queue_of(one("queued", queue="team-a"), one("warm"))
    assert (queue.waiting(POOL), list(queue.waiting_for_worker(POOL))) == (1, [("film", "warm")])


def test_a_job_with_a_queue_does_not_wait_behind_one_whose_worker_is_coming() -> None:
    queue = queue_of(one("warm", age=60, priority="high"), one("queued", queue="team-a"))
    assert all_of(queue, Supply(free=0, coming=5)) == ["queued"]


def test_a_line_whose_worker_is_coming_does_not_hold_up_the_line_of_another_pool() -> None:
    other = runner("voices", tiers=[{"quality": "standard", "pipeline": "v"}])
    queue = queue_of(one("warm", age=60), waiting("cold", uid="cold", by=other))
    supplies = {POOL: Supply(free=0, coming=1), "studio_voices_standard": NO_POOL}
    assert queue.next(supplies.__getitem__) == Turn(("film", "cold"), "cold", "studio_voices_standard", OWN_POD)


# ── between namespaces ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_namespace_with_fewer_jobs_under_way_goes_first_whatever_the_priority() -> None:
    queue = queue_of(one("a", "busy", priority="high", age=600), one("b", "quiet", priority="low"))
    queue.begin("busy", "another")
    assert all_of(queue) == ["b", "a"]


def test_between_equals_priority_and_age_decide() -> None:
    queue = queue_of(one("a", "film"), one("b", "radio", priority="high"), one("c", "press", age=60))
    assert all_of(queue) == ["b", "c", "a"]


def test_a_full_namespace_is_passed_over() -> None:
    queue = queue_of(one("a", "full", priority="high"), one("b", "open"), limit=2)
    for uid in ("x", "y"):
        queue.begin("full", uid)
        queue.begin("open", f"{uid}-")
    queue.end("open", "x-")
    assert all_of(queue) == ["b"]


def test_positions_count_within_a_namespace() -> None:
    crowd = [one(f"a{number}", "crowd", age=100 - number) for number in range(5)]
    queue = queue_of(*crowd, late := one("late", "quiet"))
    assert ([queue.position(each) for each in crowd], queue.position(late)) == ([1, 2, 3, 4, 5], 1)


def test_a_namespace_that_queues_5000_delays_the_first_job_of_another_by_at_most_one() -> None:
    """One worker, and it is taken: whoever comes late waits for the job that runs, and for no other."""
    made = one("j")
    queue = FairQueue(Limits(per_namespace=10_000))
    for number in range(5_000):
        meta = made.metadata.model_copy(update={"uid": f"j{number}", "name": f"j{number}", "namespace": "crowd"})
        queue.join(made.model_copy(update={"metadata": meta}))
    runs = take(queue, Supply(free=1, coming=0))
    queue.join(one("late", "quiet", priority="low"))
    assert runs is not None
    queue.end("crowd", runs.uid)
    after_it = take(queue, Supply(free=1, coming=0))
    assert after_it is not None
    assert after_it.key == ("quiet", "late")


NAMESPACES = ("film", "press", "radio")
crowds = st.lists(
    st.tuples(st.sampled_from(NAMESPACES), st.integers(0, 3), st.sampled_from(["low", "normal", "high"])), max_size=30
)


@given(crowds, st.integers(1, 4), st.integers(1, 20), st.randoms(use_true_random=False))
def test_turns_are_fair_whoever_comes(
    crowd: list[tuple[str, int, str]], workers: int, limit: int, random: Random
) -> None:
    """However many wait: nobody exceeds a limit, nobody gets a turn twice, everybody gets one; and whoever goes belongs
    to a namespace that has no more under way than any other that could go, and of such has waited longest.
    """
    jobs = [
        one(f"j{number}", namespace, age=age, priority=priority)
        for number, (namespace, age, priority) in enumerate(crowd)
    ]
    queue = queue_of(*jobs, limit=limit)
    ahead = {each.metadata.uid: each.key for each in jobs}
    runs: dict[str, Key] = {}
    last_turn: Counter[str] = Counter()
    while ahead:
        active = Counter(namespace for namespace, _ in runs.values())
        able = {namespace for namespace, _ in ahead.values() if active[namespace] < limit}
        turn = take(queue, Supply(free=1, coming=0)) if len(runs) < workers else None
        if turn is None:
            assert len(runs) >= workers or not able
            done = random.choice(sorted(runs))
            queue.end(runs.pop(done)[0], done)
            continue
        namespace = turn.key[0]
        assert ahead.pop(turn.uid) == turn.key
        assert namespace in able
        assert (active[namespace], last_turn[namespace]) == min((active[each], last_turn[each]) for each in able)
        last_turn[namespace] = max(last_turn.values(), default=0) + 1
        runs[turn.uid] = turn.key
    assert (queue.next(no_pool), queue.waiting(POOL)) == (None, 0)
