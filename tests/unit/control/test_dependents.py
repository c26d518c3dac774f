"""Who waits for whom, as long as both are there."""

from typing import Any

from auteur_contracts.resources import GenerationJob
from auteur_control.dependents import Dependents
from auteur_lifecycle import status as life
from tests.unit.cluster_operator.making import NOW, having, job

SCRIPT, CLIP = ("film", "script"), ("film", "clip")


def clip(**spec: Any) -> GenerationJob:
    return job("clip", uid="c", inputs=[{"name": "image", "from": {"job": "script"}}], **spec)


def after(*jobs: GenerationJob) -> Dependents:
    made = Dependents()
    for each in jobs:
        made.take(each)
    return made


def test_a_job_knows_who_waits_for_it_until_those_have_finished() -> None:
    dependents = after(waits := clip())
    assert (dependents.of(SCRIPT), dependents.is_needed(SCRIPT), dependents.is_needed(("press", "script"))) == (
        (CLIP,),
        True,
        False,
    )
    dependents.take(having(waits, life.cancel(waits, "", NOW), version=2))
    assert (dependents.of(SCRIPT), dependents.is_needed(SCRIPT)) == ((), False)


def test_taken_twice_it_waits_once() -> None:
    assert after(clip(), clip()).of(SCRIPT) == (CLIP,)


def test_parameters_come_from_jobs_too() -> None:
    from_it = {"name": "prompt", "job": "script", "output": "script.json", "path": "scenes.0"}
    assert after(job("clip", uid="c", paramsFrom=[from_it])).of(SCRIPT) == (CLIP,)


def test_a_deleted_job_waits_for_nobody() -> None:
    dependents = after(clip())
    dependents.drop(CLIP)
    assert (dependents.of(SCRIPT), dependents.is_needed(SCRIPT)) == ((), False)


def test_a_job_made_anew_under_the_same_name_waits_for_its_own_sources() -> None:
    dependents = after(clip(), job("clip", uid="second", inputs=[{"name": "image", "from": {"job": "storyboard"}}]))
    assert (dependents.of(SCRIPT), dependents.of(("film", "storyboard"))) == ((), (CLIP,))
