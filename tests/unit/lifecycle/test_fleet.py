"""The fleet: who is ready, busy, lost; as heartbeats show it."""

from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_lifecycle.fleet import LOST_AFTER, Fleet


def beat(worker: str = "w-1", state: WorkerState = WorkerState.READY, sequence: int = 0, pool: str = "p") -> Heartbeat:
    return Heartbeat(worker=worker, pool=pool, runner=pool, state=state, sequence=sequence)


def test_a_worker_is_lost_after_three_silent_heartbeats() -> None:
    fleet = Fleet()
    fleet.hear(beat(), 100)
    assert not fleet.silent("w-1", 100 + LOST_AFTER)
    assert fleet.silent("w-1", 100 + LOST_AFTER + 0.1)
    assert fleet.forget_lost(103) == []
    assert fleet.forget_lost(107) == ["w-1"]
    assert fleet.forget_lost(107) == []
    assert fleet.count("p", WorkerState.READY, 107) == 0


def test_nobody_is_lost_while_we_did_not_listen() -> None:
    fleet = Fleet()
    fleet.hear(beat(), 100)
    fleet.listen_from(200)
    assert not fleet.silent("w-1", 205)
    assert not fleet.silent("never-heard", 205)
    assert fleet.silent("w-1", 207)
    assert fleet.silent("never-heard", 207)


def test_listening_never_starts_earlier_again() -> None:
    fleet = Fleet()
    fleet.listen_from(200)
    fleet.listen_from(100)
    assert not fleet.silent("never-heard", 205)


def test_an_older_heartbeat_that_overtook_nothing_is_skipped() -> None:
    fleet = Fleet()
    fleet.hear(beat(state=WorkerState.BUSY, sequence=5), 100)
    fleet.hear(beat(state=WorkerState.READY, sequence=4), 101)
    assert fleet.count("p", WorkerState.BUSY, 101) == 1


def test_who_got_a_claim_is_busy_before_it_says_so() -> None:
    fleet = Fleet()
    fleet.hear(beat(), 100)
    fleet.occupy("w-1", "u-1", 2)
    fleet.occupy("unknown", "u-1", 2)
    (busy,) = fleet.of_runner("p")
    assert (busy.state, busy.uid, busy.attempt) == (WorkerState.BUSY, "u-1", 2)
    assert fleet.count("p", WorkerState.READY, 100) == 0


def test_only_the_pools_own_living_workers_count() -> None:
    fleet = Fleet()
    fleet.hear(beat("w-1"), 100)
    fleet.hear(beat("w-2", pool="other"), 100)
    fleet.hear(beat("w-3"), 90)
    assert fleet.count("p", WorkerState.READY, 100) == 1
