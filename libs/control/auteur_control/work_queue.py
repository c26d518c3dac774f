"""Keys to reconcile: each once however often it was added, never one twice at a time, again later when it failed. As
client-go's rate-limiting work queue, and with its words.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
OnFailure = Callable[[Key, Exception, int], None]
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 60.0


def pause_after(failures: int) -> float:
    """Seconds. Twice as long each time; whoever fails for days must not make a number beyond a float's range."""
    return min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 30), _LONGEST_PAUSE)


class WorkQueue(Generic[Key]):
    """`add` and `add_at` may be called at any time, from any cause."""

    def __init__(self) -> None:
        self._ready: deque[Key] = deque()
        self._added: set[Key] = set()
        """Keys that wait to be reconciled."""
        self._in_progress: set[Key] = set()
        self._delayed: list[tuple[float, int, Key]] = []
        """A heap. An entry counts only while `_due` says the same time of its key."""
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._order = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: Key) -> None:
        """To be reconciled as soon as there is a free slot."""
        if key in self._added:
            return
        self._added.add(key)
        if key not in self._in_progress:
            self._ready.append(key)
            self._wake.set()

    def add_at(self, key: Key, when: float) -> None:
        """`time.monotonic()`. The earliest of several counts."""
        known = self._due.get(key)
        if known is not None and known <= when:
            return
        self._due[key] = when
        self._push(key, when)
        self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        self.add_at(key, time.monotonic() + seconds)

    def _push(self, key: Key, when: float) -> None:
        self._order += 1
        heapq.heappush(self._delayed, (when, self._order, key))

    def forget(self, key: Key) -> None:
        """Drops the key's timer and its count of failures."""
        self._failures.pop(key, None)
        if self._due.pop(key, None) is None:
            return
        if len(self._delayed) > 1000 and len(self._delayed) > 4 * len(self._due):  # mostly of those that were forgotten
            self._delayed = []
            for known, when in self._due.items():
                self._push(known, when)

    async def run(self, slots: int, reconcile: Callable[[Key], Awaitable[None]], on_failure: OnFailure[Key]) -> None:
        """Until cancelled. `on_failure(key, error, failures)` hears of each; the key is reconciled again later."""
        async with asyncio.TaskGroup() as group:
            free = asyncio.Semaphore(slots)
            while True:
                await free.acquire()
                key = await self._next()
                task = group.create_task(self._reconcile(key, reconcile, on_failure))
                task.add_done_callback(lambda _: free.release())

    async def _reconcile(
        self, key: Key, reconcile: Callable[[Key], Awaitable[None]], on_failure: OnFailure[Key]
    ) -> None:
        try:
            await reconcile(key)
        except Exception as error:  # noqa: BLE001  # the outermost loop: whatever it is, the key is reconciled again
            count = self._failures[key] = self._failures.get(key, 0) + 1
            self.add_after(key, pause_after(count))
            on_failure(key, error, count)
        else:
            self._failures.pop(key, None)
        finally:
            self._in_progress.discard(key)
            if key in self._added:
                self._ready.append(key)
                self._wake.set()

    async def _next(self) -> Key:
        while True:
            self._take_due()
            if self._ready:
                key = self._ready.popleft()
                self._added.discard(key)
                self._in_progress.add(key)
                return key
            self._wake.clear()
            try:
                async with asyncio.timeout(self._until_due()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take_due(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            when, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == when:
                del self._due[key]
                self.add(key)

    def _until_due(self) -> float | None:
        return max(0.0, self._delayed[0][0] - time.monotonic()) if self._delayed else None
