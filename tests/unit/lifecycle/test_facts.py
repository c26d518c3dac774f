"""Facts between two statuses: in order, once, and under ids that replays share."""

import pytest

from auteur_contracts.events import DecidedFact, Envelope
from auteur_contracts.names import ANNOTATION_NODE_ID
from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJobStatus
from auteur_contracts.subjects import Fact
from auteur_lifecycle import status
from auteur_lifecycle.facts import envelope, facts_between
from auteur_lifecycle.status import next_status
from tests.unit.lifecycle.making import (
    NOW,
    asked,
    dispatched,
    failure,
    having,
    job,
    output,
    report,
    running,
    seen,
    waiting,
)

NEW = GenerationJobStatus()


def refused() -> GenerationJobStatus:
    return next_status(job(quality="ultra"), seen(), NOW)


def released() -> GenerationJobStatus:
    return status.report(running(), report(Outcome.FAILED, failure=failure()), NOW)


def ended(outcome: Outcome) -> GenerationJobStatus:
    one = running(retries=0)
    return status.report(one, report(outcome, failure=failure(), outputs=(output(),)), NOW)


@pytest.mark.parametrize(
    ("old", "new", "facts"),
    [
        (NEW, NEW, []),
        (NEW, waiting().status, [Fact.ACCEPTED, Fact.QUEUED]),
        (NEW, refused(), [Fact.REJECTED]),
        (NEW, status.cancel(job(), "ada", NOW), [Fact.CANCELLED]),
        (NEW, dispatched().status, [Fact.ACCEPTED, Fact.DISPATCHED]),
        (waiting().status, dispatched().status, [Fact.DISPATCHED]),
        (dispatched().status, running().status, []),
        (running().status, released(), [Fact.QUEUED]),
        (running().status, ended(Outcome.SUCCEEDED), [Fact.SUCCEEDED]),
        (running().status, ended(Outcome.FAILED), [Fact.FAILED]),
        (running().status, ended(Outcome.CANCELLED), [Fact.CANCELLED]),
        (waiting().status, status.cancel(waiting(), "", NOW), [Fact.CANCELLED]),
        (NEW, ended(Outcome.SUCCEEDED), [Fact.ACCEPTED, Fact.SUCCEEDED]),
        (ended(Outcome.FAILED), ended(Outcome.FAILED), []),
    ],
)
def test_what_happened_between_two_statuses(
    old: GenerationJobStatus, new: GenerationJobStatus, facts: list[Fact]
) -> None:
    found = facts_between(old, new, 7)
    assert [fact.fact for fact in found] == facts
    assert all(fact.status == new and fact.version == 7 and fact.attempt == new.attempt for fact in found)


def test_an_envelope_says_whose_fact_it_is_and_is_read_back() -> None:
    one = running(project="film")
    one = one.model_copy(
        update={"metadata": one.metadata.model_copy(update={"annotations": {ANNOTATION_NODE_ID: "n7"}})}
    )
    new = status.report(one, report(Outcome.SUCCEEDED, outputs=(output(project="film"),)), NOW)
    (fact,) = facts_between(one.status, new, 4)
    said = envelope(having(one, new), fact, source="engine", now=NOW)
    assert (said.type, said.subject, said.node_id, said.name) == ("job.succeeded", "default/demo-1", "n7", "demo-1")
    assert said.nats_subject == f"auteur.event.v1.default.film.job.{one.metadata.uid}.succeeded"
    assert Envelope.model_validate_json(said.model_dump_json()) == said


def id_of(fact: DecidedFact) -> str:
    return envelope(job(), fact, source="engine", now=NOW).id


def test_a_fact_that_is_said_again_has_the_same_id_and_a_second_wait_another() -> None:
    first = waiting()
    held = having(first, next_status(asked(first, suspend=True), seen(), NOW))
    resumed = next_status(asked(held, suspend=False), seen(), NOW)
    (accepted, queued) = facts_between(NEW, first.status, 1)
    (suspended,) = facts_between(first.status, held.status, 2)
    (queued_again,) = facts_between(held.status, resumed, 3)
    assert id_of(queued) == id_of(facts_between(NEW, first.status, 1)[1])
    assert len({id_of(fact) for fact in (accepted, queued, suspended, queued_again)}) == 4
    assert id_of(accepted) == id_of(facts_between(NEW, first.status, 99)[0])
