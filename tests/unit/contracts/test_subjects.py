"""Subjects: what is built is parsed back, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts import subjects
from auteur_contracts.subjects import (
    CancelSignal,
    Claim,
    Command,
    Event,
    Fact,
    Heartbeat,
    JobCommand,
    JobFact,
    JobQuery,
    Query,
    ReportOf,
    Subject,
    Verb,
    Work,
    parse,
)

tokens = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
kinds = tokens.filter(lambda kind: kind != subjects.JOB)
attempts = st.integers(min_value=0, max_value=10**6)
anything: st.SearchStrategy[Subject] = st.one_of(
    st.builds(JobFact, tokens, tokens, tokens, st.sampled_from(Fact)),
    st.builds(JobCommand, tokens, tokens, st.sampled_from(Verb)),
    st.builds(Work, tokens, tokens),
    st.builds(ReportOf, tokens, tokens, attempts),
    st.builds(Heartbeat, tokens, tokens),
    st.builds(CancelSignal, tokens, attempts),
    st.builds(Claim, tokens),
    st.builds(JobQuery, tokens, tokens),
    st.builds(Event, tokens, tokens, kinds, tokens, tokens),
    st.builds(Command, tokens, kinds, tokens, tokens),
    st.builds(Query, tokens, kinds, tokens, st.none() | tokens),
)

LITERALS = {
    "auteur.event.v1.default.film.job.u-1.succeeded": JobFact("default", "film", "u-1", Fact.SUCCEEDED),
    "auteur.command.v1.default.job.demo-1.cancel": JobCommand("default", "demo-1", Verb.CANCEL),
    "auteur.work.v1.diffusion.u-1": Work("diffusion", "u-1"),
    "auteur.report.v1.diffusion.u-1.3": ReportOf("diffusion", "u-1", 3),
    "auteur.worker.v1.diffusion.w-1": Heartbeat("diffusion", "w-1"),
    "auteur.signal.v1.u-1.3.cancel": CancelSignal("u-1", 3),
    "auteur.claim.v1.default": Claim("default"),
    "auteur.query.v1.default.job.list": JobQuery("default", "list"),
    "auteur.event.v1.default.ads.film.u-2.advanced": Event("default", "ads", "film", "u-2", "advanced"),
    "auteur.event.v1.default.ads.asset.u-3.added": Event("default", "ads", "asset", "u-3", "added"),
    "auteur.command.v1.default.film.headphones.approve": Command("default", "film", "headphones", "approve"),
    "auteur.query.v1.default.film.list": Query("default", "film", "list"),
    "auteur.query.v1.default.film.headphones.estimate": Query("default", "film", "estimate", "headphones"),
}


@given(anything)
def test_a_built_subject_is_parsed_back(subject: Subject) -> None:
    assert parse(str(subject)) == subject


@given(st.one_of(st.text(max_size=40), st.lists(tokens, max_size=9).map(".".join)))
def test_whatever_is_parsed_is_written_the_same_way(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert str(found) == text


@pytest.mark.parametrize(("text", "subject"), LITERALS.items(), ids=LITERALS)
def test_the_subjects_of_the_design(text: str, subject: Subject) -> None:
    assert str(subject) == text
    assert parse(text) == subject


@pytest.mark.parametrize("token", ["", "a.b", "a b", "*", ">", "a*", "ä", "a\n", "a\r\nPUB x 0"])
def test_a_token_that_could_mean_something_to_nats_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="cannot be a part of a NATS subject"):
        str(Work("pool", token))
    with pytest.raises(ValueError, match="cannot be a part of a NATS subject"):
        subjects.project_events("default", token)
    with pytest.raises(ValueError, match="cannot be a part of a NATS subject"):
        subjects.pool_work(token)
    for build in (subjects.events, subjects.queries):
        with pytest.raises(ValueError, match="cannot be a part of a NATS subject"):
            build(subjects.JOB, token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auteur",
        "auteur.event.v1.default.film.job.u-1.exploded",
        "auteur.command.v1.default.job.demo-1.explode",
        "auteur.event.v2.default.film.job.u-1.succeeded",
        "auteur.work.v1.pool.u-1.more",
        "auteur.work.v1..",
        "auteur.report.v1.pool.u-1.+3",
        "auteur.report.v1.pool.u-1.1_0",
        "auteur.report.v1.pool.u-1.03",
        "_INBOX.abc",
    ],
)
def test_a_foreign_subject_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a (subject of Auteur|valid)|cannot be a part"):
        parse(text)


@pytest.mark.parametrize(
    "subject",
    [
        Event("default", "film", "job", "u-1", "succeeded"),
        Command("default", "job", "demo-1", "cancel"),
        Query("default", "job", "list"),
    ],
)
def test_a_job_has_one_way_to_be_written(subject: Subject) -> None:
    with pytest.raises(ValueError, match="a job's subjects are"):
        str(subject)


def test_a_fact_of_any_kind_has_one_builder() -> None:
    assert subjects.event("default", "film", "job", "u-1", "succeeded") == JobFact(
        "default", "film", "u-1", Fact.SUCCEEDED
    )
    assert subjects.event("default", "ads", "film", "u-2", "advanced") == Event(
        "default", "ads", "film", "u-2", "advanced"
    )


def test_filters_cover_what_they_are_for() -> None:
    assert subjects.namespace_events("default") == "auteur.event.v1.default.>"
    assert subjects.events(subjects.JOB, Fact.PROGRESSED) == "auteur.event.v1.*.*.job.*.progressed"
    assert subjects.commands(subjects.JOB) == "auteur.command.v1.*.job.*.*"
    assert subjects.queries(subjects.JOB, "list") == "auteur.query.v1.*.job.list"
    assert subjects.project_events("default", "film") == "auteur.event.v1.default.film.>"
    assert subjects.pool_work("diffusion") == "auteur.work.v1.diffusion.*"


def test_workers_and_deciders_say_different_facts() -> None:
    assert not subjects.WORKER_FACTS & subjects.TERMINAL_FACTS
