"""Estimates: how long those who wait still have to."""

from typing import Any

from auteur_contracts.orders import Heartbeat, Outcome, WorkerState
from auteur_contracts.resources import QueueStatus
from auteur_lifecycle.estimate import Estimates
from auteur_lifecycle.fleet import Fleet
from tests.unit.lifecycle.making import NOW, after, report, running, waiting


def fleet(*workers: str) -> Fleet:
    made = Fleet()
    for worker in workers:
        made.hear(Heartbeat(worker=worker, pool="painter", runner="painter", state=WorkerState.BUSY), 1.0)
    return made


def took(seconds: float) -> dict[str, Any]:
    return {"started_at": NOW, "finished_at": after(seconds)}


def test_nobody_knows_before_the_first_attempt_has_ended() -> None:
    placed = Estimates().placed(waiting(), 2, fleet("w-1"))
    assert placed.queue == QueueStatus(position=2)


def test_attempts_of_the_pool_tell_and_workers_share_them() -> None:
    estimates = Estimates()
    estimates.learn(running(), report(Outcome.SUCCEEDED, **took(10)))
    assert estimates.placed(waiting(), 3, fleet("w-1")).queue == QueueStatus(position=3, eta_seconds=30.0)
    assert estimates.placed(waiting(), 3, fleet("w-1", "w-2")).queue == QueueStatus(position=3, eta_seconds=20.0)
    estimates.learn(running(), report(Outcome.SUCCEEDED, **took(20)))
    assert estimates.placed(waiting(), 1, fleet()).queue == QueueStatus(position=1, eta_seconds=12.0)


def test_who_stands_in_no_line_has_no_place() -> None:
    one = waiting()
    assert Estimates().placed(one, None, fleet()) is one.status
