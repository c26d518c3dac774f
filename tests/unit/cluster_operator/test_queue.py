"""Keys to look at, with a real event loop: nothing is lost, nothing is done twice at once, failures wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from auteur_operator.queue import WorkQueue, pause_after
from tests.support.waiting import eventually


@asynccontextmanager
async def at_work(
    queue: WorkQueue[str], look: Callable[[str], Awaitable[None]], workers: int = 4
) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(workers, look))
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Desk:
    """Somebody who looks at keys, and may be kept at it: `open` lets everybody finish."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.seen: list[str] = []
        self.busy: list[str] = []
        self.most = 0
        self.open = asyncio.Event()
        if is_open:
            self.open.set()

    async def look(self, key: str) -> None:
        assert key not in self.busy, f"{key} is looked at twice at once"
        self.busy.append(key)
        self.most = max(self.most, len(self.busy))
        await self.open.wait()
        self.busy.remove(key)
        self.seen.append(key)


async def test_keys_are_looked_at_in_the_order_they_were_marked() -> None:
    queue, desk = WorkQueue[str](), Desk()
    for key in "abc":
        queue.mark(key)
    async with at_work(queue, desk.look, workers=1):
        await eventually(lambda: len(desk.seen) == 3, "three looks")
    assert desk.seen == ["a", "b", "c"]


async def test_a_key_that_is_marked_often_is_looked_at_once() -> None:
    queue, desk = WorkQueue[str](), Desk()
    for _ in range(100):
        queue.mark("a")
    queue.mark("end")
    assert len(queue) == 2
    async with at_work(queue, desk.look, workers=1):
        await eventually(lambda: "end" in desk.seen, "the last look")
    assert desk.seen == ["a", "end"]


async def test_many_keys_at_once_but_no_more_than_there_are_workers() -> None:
    queue, desk = WorkQueue[str](), Desk(is_open=False)
    for number in range(10):
        queue.mark(f"k{number}")
    async with at_work(queue, desk.look, workers=3):
        await eventually(lambda: len(desk.busy) == 3, "three at work")
        assert len(queue) == 7
        desk.open.set()
        await eventually(lambda: len(desk.seen) == 10, "all of them")
    assert desk.most == 3


async def test_a_mark_during_a_look_is_a_look_afterwards_and_never_two_at_once() -> None:
    queue, desk = WorkQueue[str](), Desk(is_open=False)
    queue.mark("a")
    async with at_work(queue, desk.look):
        await eventually(lambda: desk.busy == ["a"], "a look")
        for _ in range(5):
            queue.mark("a")
        queue.mark("b")
        await eventually(lambda: desk.busy == ["a", "b"], "another key beside it")
        desk.open.set()
        await eventually(lambda: desk.seen.count("a") == 2, "one more look")
    assert sorted(desk.seen) == ["a", "a", "b"]


async def test_a_mark_by_the_look_itself_is_not_lost() -> None:
    queue = WorkQueue[str]()
    looks = 0

    async def look(key: str) -> None:
        nonlocal looks
        looks += 1
        if looks < 3:
            queue.mark(key)

    queue.mark("a")
    async with at_work(queue, look, workers=1):
        await eventually(lambda: looks == 3, "three looks")
        assert len(queue) == 0


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_look_in_vain_is_repeated_and_holds_up_nobody() -> None:
    queue = WorkQueue[str]()
    looks: list[tuple[str, float]] = []

    async def look(key: str) -> None:
        looks.append((key, time.monotonic()))
        if key == "bad" and len([each for each, _ in looks if each == "bad"]) < 3:
            raise RuntimeError("the API server is away")

    queue.mark("bad")
    queue.mark("good")
    async with at_work(queue, look, workers=1):
        await eventually(lambda: len(looks) == 4, "all looks")
    assert [key for key, _ in looks] == ["bad", "good", "bad", "bad"]
    at = [when for key, when in looks if key == "bad"]
    assert at[1] - at[0] >= pause_after(1)
    assert at[2] - at[1] >= pause_after(2)


async def test_who_succeeded_begins_anew_with_a_short_pause() -> None:
    queue = WorkQueue[str]()
    queue._failures["a"] = 100  # so the next pause would be a minute
    looks = 0

    async def look(_key: str) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise RuntimeError("again")

    queue.mark("a")
    async with at_work(queue, look):
        await eventually(lambda: looks == 1, "the success")
        queue.mark("a")
        await eventually(lambda: looks == 3, "the look after one failure", seconds=pause_after(100) / 2)


@pytest.mark.parametrize("during", [True, False])
async def test_a_failing_key_that_is_marked_is_looked_at_at_once(*, during: bool) -> None:
    """Something has happened: perhaps what it failed of is over. Marked while it is looked at, or while it waits."""
    queue = WorkQueue[str]()
    queue._failures["a"] = 100  # so it would wait for a minute
    looks = 0

    async def look(key: str) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            if during:
                queue.mark(key)
            raise RuntimeError("in vain")

    queue.mark("a")
    async with at_work(queue, look):
        await eventually(lambda: "a" in queue._due, "the failure")
        if not during:
            queue.mark("a")
        await eventually(lambda: looks == 2, "the look that was asked for", seconds=pause_after(100) / 2)


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
        queue.mark_at("a", now + seconds)
    queue.mark_at("between", now + 0.15)
    queue.mark_at("later", now + 0.4)
    async with at_work(queue, desk.look):
        await eventually(lambda: "later" in desk.seen, "the last key")
    assert desk.seen == ["a", "between", "later"]


async def test_a_moment_that_is_past_is_now() -> None:
    queue, desk = WorkQueue[str](), Desk()
    async with at_work(queue, desk.look):
        queue.mark_at("a", time.monotonic() - 5)
        await eventually(lambda: desk.seen == ["a"], "the look")


async def test_an_earlier_moment_wakes_whoever_sleeps_until_a_later_one() -> None:
    queue, desk = WorkQueue[str](), Desk()
    queue.mark_at("a", time.monotonic() + 600)
    async with at_work(queue, desk.look):
        await eventually(lambda: queue._wake.is_set() is False, "it sleeps")
        queue.mark_at("a", time.monotonic() + 0.05)
        await eventually(lambda: desk.seen == ["a"], "the look")


async def test_a_moment_that_comes_during_a_look_is_a_look_afterwards() -> None:
    queue, desk = WorkQueue[str](), Desk(is_open=False)
    queue.mark("a")
    async with at_work(queue, desk.look):
        await eventually(lambda: desk.busy == ["a"], "a look")
        queue.mark_at("a", time.monotonic())
        queue.mark("b")
        await eventually(lambda: desk.busy == ["a", "b"], "somebody took what was due")
        desk.open.set()
        await eventually(lambda: desk.seen.count("a") == 2, "one more look")
