"""How the supervisor ends, as the `auteur up` that started it understands it. Light: `up` imports it first."""

from enum import IntEnum


class SupervisorExit(IntEnum):
    STOPPED = 0
    REFUSED = 2
    """The last line of its log says why, as `refused: …`."""
    ALREADY_RUNS = 3


REFUSED = "refused: "
