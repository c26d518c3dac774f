"""Expiry: a finished job's resource goes when it is archived, old enough and needed by nobody."""

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJob
from auteur_lifecycle import status
from auteur_lifecycle.expiry import expires_at, may_delete, needs
from tests.unit.lifecycle.making import NOW, after, having, job, report, running


def finished(*, archived: bool) -> GenerationJob:
    one = running(ttlSecondsAfterFinished=60)
    ended = status.report(one, report(Outcome.SUCCEEDED), NOW)
    return having(one, ended.model_copy(update={"archived_time": NOW if archived else None}))


def test_only_an_archived_job_expires() -> None:
    assert expires_at(running()) is None
    assert expires_at(finished(archived=False)) is None
    assert expires_at(finished(archived=True)) == after(60)


def test_not_before_its_time_and_not_while_it_is_needed() -> None:
    done = finished(archived=True)
    assert not may_delete(done, set(), after(59))
    assert may_delete(done, set(), after(60))
    assert may_delete(done, {"other"}, after(60))
    assert not may_delete(done, {"demo-1"}, after(60))
    assert not may_delete(finished(archived=False), set(), after(10**6))


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
