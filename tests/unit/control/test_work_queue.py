"""Keys to reconcile, with a real event loop: nothing is lost, nothing is done twice at once, failures wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from auteur_control.work_queue import WorkQueue, pause_after
from tests.support.waiting import eventually


@asynccontextmanager
async def at_work(
    queue: WorkQueue[str], reconcile: Callable[[str], Awaitable[None]], slots: int = 4
) -> AsyncIterator[list[int]]:
    """While the queue runs. Yields how many failures it was told of, each time it was."""
    failures: list[int] = []
    task = asyncio.create_task(queue.run(slots, reconcile, lambda _key, _error, count: failures.append(count)))
    try:
        yield failures
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Desk:
    """Reconciles keys, and may be kept at it: `open` lets everything finish."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.seen: list[str] = []
        self.busy: list[str] = []
        self.most = 0
        self.open = asyncio.Event()
        if is_open:
            self.open.set()

    async def reconcile(self, key: str) -> None:
        assert key not in self.busy, f"{key} is reconciled twice at once"
        self.busy.append(key)
        self.most = max(self.most, len(self.busy))
        await self.open.wait()
        self.busy.remove(key)
        self.seen.append(key)


async def test_keys_are_reconciled_in_the_order_they_were_added() -> None:
    queue, desk = WorkQueue[str](), Desk()
    for key in "abc":
        queue.add(key)
    async with at_work(queue, desk.reconcile, slots=1):
        await eventually(lambda: len(desk.seen) == 3, "three runs")
    assert desk.seen == ["a", "b", "c"]


async def test_a_key_that_is_added_often_is_reconciled_once() -> None:
    queue, desk = WorkQueue[str](), Desk()
    for _ in range(100):
        queue.add("a")
    queue.add("end")
    assert len(queue) == 2
    async with at_work(queue, desk.reconcile, slots=1):
        await eventually(lambda: "end" in desk.seen, "the last run")
    assert desk.seen == ["a", "end"]


async def test_many_keys_at_once_but_no_more_than_there_are_slots() -> None:
    queue, desk = WorkQueue[str](), Desk(is_open=False)
    for number in range(10):
        queue.add(f"k{number}")
    async with at_work(queue, desk.reconcile, slots=3):
        await eventually(lambda: len(desk.busy) == 3, "three at work")
        assert len(queue) == 7
        desk.open.set()
        await eventually(lambda: len(desk.seen) == 10, "all of them")
    assert desk.most == 3


async def test_what_is_added_while_it_is_reconciled_is_reconciled_again_afterwards() -> None:
    queue, desk = WorkQueue[str](), Desk(is_open=False)
    queue.add("a")
    async with at_work(queue, desk.reconcile):
        await eventually(lambda: desk.busy == ["a"], "a run")
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        await eventually(lambda: desk.busy == ["a", "b"], "another key beside it")
        desk.open.set()
        await eventually(lambda: desk.seen.count("a") == 2, "one more run")
    assert sorted(desk.seen) == ["a", "a", "b"]


async def test_what_its_own_reconciler_adds_is_not_lost() -> None:
    queue = WorkQueue[str]()
    runs = 0

    async def reconcile(key: str) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            queue.add(key)

    queue.add("a")
    async with at_work(queue, reconcile, slots=1):
        await eventually(lambda: runs == 3, "three runs")
        assert len(queue) == 0


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_failure_is_tried_again_and_holds_up_nobody() -> None:
    queue = WorkQueue[str]()
    runs: list[tuple[str, float]] = []

    async def reconcile(key: str) -> None:
        runs.append((key, time.monotonic()))
        if key == "bad" and len([each for each, _ in runs if each == "bad"]) < 3:
            raise RuntimeError("the API server is away")

    queue.add("bad")
    queue.add("good")
    async with at_work(queue, reconcile, slots=1):
        await eventually(lambda: len(runs) == 4, "all runs")
    assert [key for key, _ in runs] == ["bad", "good", "bad", "bad"]
    at = [when for key, when in runs if key == "bad"]
    assert at[1] - at[0] >= pause_after(1)
    assert at[2] - at[1] >= pause_after(2)


async def test_a_success_makes_the_next_pause_short_again() -> None:
    queue = WorkQueue[str]()
    queue._failures["a"] = 100  # so the next pause would be a minute
    runs = 0

    async def reconcile(_key: str) -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            raise RuntimeError("again")

    queue.add("a")
    async with at_work(queue, reconcile):
        await eventually(lambda: runs == 1, "the success")
        queue.add("a")
        await eventually(lambda: runs == 3, "the run after one failure", seconds=pause_after(100) / 2)


@pytest.mark.parametrize("during", [True, False])
async def test_a_failing_key_that_is_added_is_reconciled_at_once(*, during: bool) -> None:
    """Something has happened: perhaps what it failed of is over. Added while it is reconciled, or while it waits."""
    queue = WorkQueue[str]()
    queue._failures["a"] = 100  # so it would wait for a minute
    runs = 0

    async def reconcile(key: str) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            if during:
                queue.add(key)
            raise RuntimeError("in vain")

    queue.add("a")
    async with at_work(queue, reconcile) as failures:
        await eventually(lambda: failures == [101], "the failure")
        if not during:
            queue.add("a")
        await eventually(lambda: runs == 2, "the run that was asked for", seconds=pause_after(100) / 2)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.2), (2, 0.4), (3, 0.8), (9, 51.2), (10, 60.0), (100, 60.0), (100_000, 60.0)]
)
def test_pauses_double_up_to_a_minute_for_however_long_it_fails(failures: int, seconds: float) -> None:
    assert pause_after(failures) == pytest.approx(seconds)


# ── later ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_earliest_of_several_moments_counts_and_the_later_ones_are_nothing() -> None:
    queue, desk = WorkQueue[str](), Desk()
    now = time.monotonic()
    for seconds in (0.3, 0.1, 0.2):
        queue.add_at("a", now + seconds)
    queue.add_at("between", now + 0.15)
    queue.add_at("later", now + 0.4)
    async with at_work(queue, desk.reconcile):
        await eventually(lambda: "later" in desk.seen, "the last key")
    assert desk.seen == ["a", "between", "later"]


async def test_a_moment_that_is_past_is_now() -> None:
    queue, desk = WorkQueue[str](), Desk()
    async with at_work(queue, desk.reconcile):
        queue.add_at("a", time.monotonic() - 5)
        await eventually(lambda: desk.seen == ["a"], "the run")


async def test_an_earlier_moment_wakes_whoever_sleeps_until_a_later_one() -> None:
    queue, desk = WorkQueue[str](), Desk()
    queue.add_at("a", time.monotonic() + 600)
    async with at_work(queue, desk.reconcile):
        await eventually(lambda: queue._wake.is_set() is False, "it sleeps")
        queue.add_at("a", time.monotonic() + 0.05)
        await eventually(lambda: desk.seen == ["a"], "the run")


async def test_a_moment_that_comes_meanwhile_is_another_run_afterwards() -> None:
    queue, desk = WorkQueue[str](), Desk(is_open=False)
    queue.add("a")
    async with at_work(queue, desk.reconcile):
        await eventually(lambda: desk.busy == ["a"], "a run")
        queue.add_at("a", time.monotonic())
        queue.add("b")
        await eventually(lambda: desk.busy == ["a", "b"], "somebody took what was due")
        desk.open.set()
        await eventually(lambda: desk.seen.count("a") == 2, "one more run")


async def test_what_is_forgotten_comes_no_more_by_time() -> None:
    queue, desk = WorkQueue[str](), Desk()
    now = time.monotonic()
    queue.add_at("gone", now + 0.1)
    queue.add_at("later", now + 0.2)
    queue.forget("gone")
    async with at_work(queue, desk.reconcile):
        await eventually(lambda: desk.seen == ["later"], "the other key")


async def test_thousands_that_were_forgotten_take_no_room() -> None:
    queue = WorkQueue[int]()
    for number in range(10_000):
        queue.add_at(number, time.monotonic() + 600)
        queue.forget(number)
    assert len(queue._delayed) < 2000
