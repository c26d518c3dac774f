"""Whether some attempt's pod has found no room for a while: then pools give up the room of their spare workers."""

from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_kit.clock import Clock
from auteur_operator import diagnosis
from auteur_operator.object_cache import ObjectCache

_AFTER = 10.0
"""Seconds."""


class Pressure:
    def __init__(self, objects: ObjectCache, runner_queue: WorkQueue[Key], clock: Clock) -> None:
        self._objects = objects
        self._runner_queue = runner_queue
        self._clock = clock
        self.high = False

    def measure(self) -> None:
        """Pools are reconciled when it begins, and when it ends: they take their room back."""
        before, now = self.high, self._clock()
        self.high = any(
            diagnosis.wants_room(pod) and pod.created is not None and (now - pod.created).total_seconds() > _AFTER
            for pod in self._objects.pending_attempts()
        )
        if self.high is not before:
            for key in self._objects.runners:
                self._runner_queue.add(key)
