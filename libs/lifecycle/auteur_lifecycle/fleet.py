"""The workers as their heartbeats show them: who is ready, who is busy with what, who is lost."""

from dataclasses import dataclass, field, replace

from auteur_contracts.orders import Heartbeat, WorkerState

LOST_AFTER = 6.0
"""Seconds of silence after which a worker is lost: three heartbeats."""


@dataclass(frozen=True)
class Worker:
    beat: Heartbeat
    heard_at: float
    """Monotonic seconds."""


@dataclass
class Fleet:
    workers: dict[str, Worker] = field(default_factory=dict)
    listening_since: float = 0.0
    """Silence counts from here: nobody can be heard while we do not listen."""

    def listen_from(self, now: float) -> None:
        self.listening_since = max(self.listening_since, now)

    def hear(self, beat: Heartbeat, now: float) -> None:
        known = self.workers.get(beat.worker)
        if known is None or beat.sequence >= known.beat.sequence:
            self.workers[beat.worker] = Worker(beat, now)

    def occupy(self, worker: str, uid: str, attempt: int) -> None:
        """A claim was granted: busy, before the worker's own next word says so."""
        known = self.workers.get(worker)
        if known is not None:
            beat = known.beat.model_copy(update={"state": WorkerState.BUSY, "uid": uid, "attempt": attempt})
            self.workers[worker] = replace(known, beat=beat)

    def silent(self, worker: str, now: float) -> bool:
        known = self.workers.get(worker)
        last = max(known.heard_at if known else 0.0, self.listening_since)
        return now - last > LOST_AFTER

    def forget_lost(self, now: float) -> list[str]:
        lost = [name for name in self.workers if self.silent(name, now)]
        for name in lost:
            del self.workers[name]
        return lost

    def in_state(self, pool: str, state: WorkerState, now: float) -> set[str]:
        """Names of those of the pool that are heard."""
        return {
            name
            for name, worker in self.workers.items()
            if worker.beat.pool == pool and worker.beat.state is state and not self.silent(name, now)
        }

    def count(self, pool: str, state: WorkerState, now: float) -> int:
        return len(self.in_state(pool, state, now))

    def of_runner(self, runner: str) -> list[Heartbeat]:
        return [worker.beat for worker in self.workers.values() if worker.beat.runner == runner]
