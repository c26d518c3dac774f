"""When and how long to wait before asking again. Pure: the caller sleeps."""

from collections.abc import Mapping
from dataclasses import dataclass

RETRIED_STATUS = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How often to try, and the waits in between: doubling from `first` to `longest` seconds."""

    tries: int = 4
    first: float = 0.1
    longest: float = 5.0
    longest_asked: float = 30.0
    """Who asks for more is not waited for: the error says when to come back."""

    def wait(self, failures: int, *, advised: float | None = None, jitter: float = 0.0) -> float | None:
        """Seconds to wait after that many failures in a row; None: give up. `advised` is the server's Retry-After;
        `jitter` from 0 to 1 spreads clients that failed together."""
        if failures >= self.tries:
            return None
        if advised is not None:
            return advised if advised <= self.longest_asked else None
        doubled = self.first * float(2 ** min(failures - 1, 16))
        return min(doubled, self.longest) * (1 + jitter / 4)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The server's wish in seconds. The date form is not used by our server and is ignored."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() else None
