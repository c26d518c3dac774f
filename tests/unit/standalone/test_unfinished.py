"""Where unfinished jobs stand: lines, orders on their way, timers."""

from datetime import timedelta

from auteur_contracts.resources import GenerationJob
from auteur_lifecycle.status import dispatch, next_status
from auteur_standalone.engine.unfinished import UnfinishedJobs
from tests.unit.lifecycle.making import NOW, after, asked, having, job, runner, running, seen, waiting


def standing(*jobs: GenerationJob, cards: tuple[float, ...] = ()) -> UnfinishedJobs:
    made = UnfinishedJobs(cards)
    for version, one in enumerate(jobs, 1):
        made.remember(one, version, now=NOW, monotonic=0.0)
    return made


def named(name: str, *, pool: str = "painter", priority: str = "normal", age: float = 0) -> GenerationJob:
    one = job(name, uid=name, created=NOW - timedelta(seconds=age), priority=priority, runner=pool)
    return having(one, next_status(one, seen(runner("painter"), runner("voice")), NOW))


def test_a_free_slot_goes_to_the_first_over_all_pools_that_have_a_worker() -> None:
    jobs = standing(named("old", age=60), named("urgent", pool="voice", priority="high"), named("young"))

    def first(**free: int) -> str:
        found = jobs.next_for(lambda pool: free.get(pool, 0))
        return found.metadata.name if found else ""

    assert first(painter=1, voice=1) == "urgent"
    assert first(painter=1) == "old"
    assert first() == ""
    assert [jobs.position(named(name)) for name in ("old", "young")] == [1, 2]


def test_a_job_that_needs_a_larger_card_than_the_machine_has_stands_in_no_line() -> None:
    large = [{"quality": "standard", "pipeline": "flux", "vramGigabytes": 24}]
    one = job()
    one = having(one, next_status(one, seen(runner(tiers=large)), NOW))

    assert not standing(one, cards=(16.0,)).waits_for_worker(one)
    assert standing(one, cards=(16.0,)).next_for(lambda _: 1) is None
    assert standing(one, cards=(16.0, 24.0)).next_for(lambda _: 1) == one


def test_an_order_is_on_its_way_until_it_is_claimed() -> None:
    one = waiting()
    offered = having(one, dispatch(one, NOW))
    jobs = standing(offered)

    assert (jobs.orders_on_their_way("painter"), jobs.active) == (1, 1)
    assert list(jobs.unclaimed(before=1.0)) == [offered]
    jobs.ordered_again(offered.metadata.uid, 5.0)
    assert list(jobs.unclaimed(before=5.0)) == []
    jobs.remember(running(), 2, now=NOW, monotonic=6.0)
    assert (jobs.orders_on_their_way("painter"), jobs.active, jobs.running()) == (0, 1, [running()])


def test_a_name_that_is_used_again_stays_known_when_its_first_job_is_forgotten() -> None:
    first, second = named("phoenix"), having(job("phoenix", uid="other"), named("phoenix").status)
    jobs = standing(first, second)

    assert not jobs.forget(first, version=9), "it has changed since"
    assert jobs.forget(first, version=1)
    assert jobs.named(first.key) == second


def test_those_that_wait_for_a_job_are_found_by_its_name() -> None:
    needing = asked(waiting(), inputs=job(inputs=[{"name": "image", "from": {"job": "first"}}]).spec.inputs)
    jobs = standing(needing)

    assert jobs.waiting_for(("default", "first")) == (needing.metadata.uid,)
    assert jobs.needed("default") == {"first"}
    jobs.forget(needing, version=1)
    assert jobs.needed("default") == set()


def test_a_timer_goes_off_once_unless_it_is_set_again() -> None:
    one = waiting(startDeadline="10m")
    jobs = standing(one)

    assert jobs.take_due(599.0) == []
    assert jobs.take_due(600.0) == [one.metadata.uid]
    assert jobs.take_due(601.0) == []
    jobs.set_timer(one, now=after(590), monotonic=700.0)  # the clock was set back: not due yet
    assert jobs.take_due(709.0) == []
    assert jobs.take_due(710.0) == [one.metadata.uid]
