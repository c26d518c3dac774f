"""How long to pause between tries: twice as long each time, up to a limit."""


class Backoff:
    """`next()` before each further try; `reset()` after one that went well. Seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._pause = first

    def next(self) -> float:
        pause, self._pause = self._pause, min(self._pause * 2, self._longest)
        return pause

    def reset(self) -> None:
        self._pause = self._first
