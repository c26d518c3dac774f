"""Keys to look at: each once however often it is marked, never one twice at a time, again later when it failed."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from auteur_kit.logs import get_logger

log = get_logger()
Key = TypeVar("Key", bound=Hashable)
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 60.0


def pause_after(failures: int) -> float:
    """Seconds. Twice as long each time; whoever fails for days must not make a number beyond a float's range."""
    return min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 30), _LONGEST_PAUSE)


class WorkQueue(Generic[Key]):
    """As client-go's rate-limiting workqueue: `mark` is free to be called at any time, from any cause."""

    def __init__(self) -> None:
        self._ready: deque[Key] = deque()
        self._marked: set[Key] = set()
        """Waiting to be looked at, now."""
        self._under_way: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._order = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def mark(self, key: Key) -> None:
        """Look at it as soon as a worker is free."""
        if key in self._marked:
            return
        self._marked.add(key)
        if key not in self._under_way:
            self._ready.append(key)
            self._wake.set()

    def mark_at(self, key: Key, when: float) -> None:
        """`time.monotonic()`. The earliest of several counts."""
        known = self._due.get(key)
        if known is not None and known <= when:
            return
        self._due[key] = when
        self._order += 1
        heapq.heappush(self._later, (when, self._order, key))
        self._wake.set()

    async def run(self, workers: int, look: Callable[[Key], Awaitable[None]]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            slots = asyncio.Semaphore(workers)
            while True:
                await slots.acquire()
                key = await self._next()
                task = group.create_task(self._look(key, look))
                task.add_done_callback(lambda _: slots.release())

    async def _look(self, key: Key, look: Callable[[Key], Awaitable[None]]) -> None:
        try:
            await look(key)
        except Exception as error:  # noqa: BLE001  # the outermost loop: whatever it is, the key is looked at again
            count = self._failures[key] = self._failures.get(key, 0) + 1
            pause = pause_after(count)
            log.warning("looked at in vain", key=str(key), error=str(error) or repr(error), again_seconds=pause)
            self.mark_at(key, time.monotonic() + pause)
        else:
            self._failures.pop(key, None)
        finally:
            self._under_way.discard(key)
            if key in self._marked:
                self._ready.append(key)
                self._wake.set()

    async def _next(self) -> Key:
        while True:
            self._take_due()
            if self._ready:
                key = self._ready.popleft()
                self._marked.discard(key)
                self._under_way.add(key)
                return key
            self._wake.clear()
            try:
                async with asyncio.timeout(self._until_due()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take_due(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            when, _, key = heapq.heappop(self._later)
            if self._due.get(key) == when:
                del self._due[key]
                self.mark(key)

    def _until_due(self) -> float | None:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
