"""Expiry: a finished job's resource goes when nobody holds it any more and it is old enough."""

import pytest

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJob
from auteur_lifecycle import status
from auteur_lifecycle.expiry import expires_at, holds_on, is_released, needs, release, was_released
from tests.unit.lifecycle.making import NOW, after, having, job, report, running

Holds = tuple[str, ...] | None


def finished(holds: Holds = (), *, archived: bool = False) -> GenerationJob:
    one = running(ttlSecondsAfterFinished=60)
    ended = status.report(one, report(Outcome.SUCCEEDED), NOW)
    return having(one, ended.model_copy(update={"holds": holds, "archived_time": NOW if archived else None}))


@pytest.mark.parametrize(
    ("one", "usual", "held", "why"),
    [
        (running(), ("archive",), (), "it stays because it is not finished, whoever will need it then"),
        (finished(("archive", "take")), (), ("archive", "take"), "what its status says is what counts"),
        (finished(()), ("archive",), (), "nobody needs it, though others of its namespace are archived"),
        (finished(None), ("archive",), ("archive",), "decided by an older version, where jobs are archived"),
        (finished(None), (), (), "decided by an older version, where none is"),
        (finished(None, archived=True), ("archive",), (), "released by an older version"),
        (finished(("archive",), archived=True), (), (), "released by an older version after a newer one decided"),
    ],
)
def test_what_holds_a_finished_job(one: GenerationJob, usual: tuple[str, ...], held: Holds, why: str) -> None:
    assert holds_on(one, usual) == held, why


def test_only_a_finished_job_that_nothing_holds_is_released_and_expires() -> None:
    assert (is_released(running()), expires_at(running())) == (False, None)
    assert (is_released(finished(("take",))), expires_at(finished(("take",)))) == (False, None)
    assert (is_released(finished()), expires_at(finished())) == (True, after(60))


def test_a_job_that_two_hold_goes_when_the_second_has_released_it() -> None:
    two = finished(("archive", "take"))
    one = having(two, release(two, "archive", after(1)))
    assert (one.status.holds, one.status.archived_time, expires_at(one)) == (("take",), None, None)
    none = having(one, release(one, "take", after(2)))
    assert (none.status.holds, none.status.archived_time, expires_at(none)) == ((), after(2), after(60))


def test_one_release_is_enough_for_a_job_of_an_older_version() -> None:
    older = finished(None)
    assert release(older, "archive", after(1)) == finished(()).status.model_copy(update={"archived_time": after(1)})


@pytest.mark.parametrize(
    ("one", "hold"),
    [
        (running(), "archive"),
        (finished(("archive",)), "take"),
        (finished(()), "archive"),
        (finished(None), "take"),
        (finished(None, archived=True), "archive"),
    ],
)
def test_a_release_of_what_is_not_held_changes_nothing(one: GenerationJob, hold: str) -> None:
    assert release(one, hold, after(1)) is one.status


def test_a_job_needs_those_it_reads_from() -> None:
    one = job(
        inputs=[
            {"name": "a", "from": {"job": "first"}},
            {"name": "b", "from": {"job": "first", "output": "x"}},
            {"name": "c", "uri": "s3://m/default/x"},
        ],
        paramsFrom=[{"name": "prompt", "job": "script", "output": "s.json", "path": "a"}],
    )
    assert needs(one) == {"first", "script"}


def test_where_nothing_ever_held_it_nobody_has_released_it() -> None:
    never_held, released = finished(()), finished(("archive",))
    released = having(released, release(released, "archive", NOW))
    assert [(is_released(job), was_released(job)) for job in (never_held, released)] == [(True, False), (True, True)]
