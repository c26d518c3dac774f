"""Spans of what happens in the child: it says which phase it is in, and the agent records the one before as over. The
function's environment needs no telemetry library, and cannot send spans of its own to anybody.
"""

from datetime import datetime

from auteur_kit import telemetry
from auteur_kit.clock import Clock

_LOAD = "load"


class Phases:
    """Of one run, as children of the span that is active when it begins. What comes before `run` is entered is loading,
    for which the runner may have phases of its own.
    """

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._parent = telemetry.traceparent()
        self._name = _LOAD
        self._since: datetime = now()

    def started(self, *, loaded: bool) -> None:
        if not loaded:  # a child that was ready: there was nothing to load
            self._name = ""
        self.enter("")

    def enter(self, name: str) -> None:
        """Empty for none."""
        if name == self._name:
            return
        now = self._now()
        if self._name:
            telemetry.record(self._name, parent=self._parent, start=self._since, end=now)
        self._name, self._since = name, now
