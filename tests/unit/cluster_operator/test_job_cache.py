"""What is kept of the jobs of a cluster, from whatever order they are shown in."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJob
from auteur_control.reading import Read, read_job
from auteur_control.resources import Expired, Malformed
from auteur_lifecycle import status as life
from auteur_operator.job_cache import JobCache
from tests.unit.cluster_operator.making import NOW, UID, after, having, job, raw_job, report, running

ALLEY = ("film", "alley")
DAY = timedelta(days=1)


def kept(*seen: Read, require_archive: bool = True) -> JobCache:
    made = JobCache(["film"] if require_archive else [])
    for each in seen:
        made.take(each)
    return made


def finished(name: str = "alley", *, version: int = 5, archived: bool = False, **wanted: Any) -> GenerationJob:
    one = running(name, **wanted)
    said = report(Outcome.SUCCEEDED, name=name, uid=one.metadata.uid, namespace=one.metadata.namespace)
    status = life.report(one, said, NOW)
    assert status.finished
    if archived:
        status = status.model_copy(update={"archived_time": NOW})
    return having(one, status, version=version)


def source(job_name: str) -> dict[str, Any]:
    return {"name": "image", "from": {"job": job_name}}


# ── the newest wins ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_newer_is_no_news() -> None:
    jobs = kept(job(version=7))
    assert not jobs.take(job(version=7))
    assert not jobs.take(job(version=6, quality="high"))
    assert jobs.take(newer := job(version=8, quality="draft"))
    assert (jobs.live(ALLEY), jobs.version(ALLEY)) == (newer, 8)


def test_versions_are_numbers_and_not_texts() -> None:
    assert kept(job(version=9)).take(job(version=10))


def test_a_finished_job_does_not_come_to_life_by_an_old_copy() -> None:
    jobs = kept(finished(version=5))
    assert not jobs.take(running(version=4))
    assert (jobs.live(ALLEY), len(jobs), jobs.finished_count) == (None, 0, 1)


@given(st.permutations([1, 2, 3, 4]))
def test_in_whatever_order_they_are_shown_the_newest_stays(order: list[int]) -> None:
    shown = {1: job(version=1), 2: running(version=2), 3: running(version=3), 4: finished(version=4)}
    jobs = kept(*(shown[number] for number in order))
    assert (jobs.version(ALLEY), jobs.find(ALLEY), jobs.all_keys()) == (4, shown[4], [ALLEY])


# ── keeping and dropping ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_finished_job_is_kept_as_text_and_read_back_whole() -> None:
    jobs = kept(one := finished())
    assert (jobs.live(ALLEY), jobs.find(ALLEY), jobs.uid(ALLEY), jobs.key_of(UID)) == (None, one, UID, ALLEY)


def test_nothing_is_known_of_a_job_that_nobody_showed() -> None:
    jobs = kept()
    assert (jobs.live(ALLEY), jobs.find(ALLEY), jobs.uid(ALLEY), jobs.version(ALLEY), jobs.key_of(UID)) == (
        None,
        None,
        "",
        0,
        None,
    )


def test_a_deleted_job_is_forgotten_and_told_of_once() -> None:
    jobs = kept(one := running())
    assert jobs.drop(ALLEY, UID) == one
    assert jobs.drop(ALLEY, UID) is None
    assert (jobs.find(ALLEY), jobs.key_of(UID), jobs.all_keys()) == (None, None, [])


def test_a_finished_one_is_given_back_as_it_ended() -> None:
    jobs = kept(one := finished())
    assert jobs.drop(ALLEY, UID) == one
    assert (jobs.drop(ALLEY, UID), jobs.finished_count) == (None, 0)


def test_a_namesake_made_anew_stays_when_the_end_of_the_first_is_heard() -> None:
    jobs = kept(job(version=5), again := job(uid="second", version=9))
    assert jobs.drop(ALLEY, UID) is None
    assert (jobs.live(ALLEY), jobs.uid(ALLEY)) == (again, "second")
    assert (jobs.key_of(UID), jobs.key_of("second")) == (None, ALLEY)


def test_a_namesake_of_a_finished_job_takes_its_place() -> None:
    jobs = kept(finished(version=5), again := job(uid="second", version=9))
    assert (jobs.live(ALLEY), jobs.finished_count, jobs.key_of(UID)) == (again, 0, None)


# ── expiry and archive ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("archived", "require", "seconds", "due", "why"),
    [
        (True, True, 100, True, "archived, and its time to live is over"),
        (True, True, 99.9, False, "a moment too early"),
        (False, True, 1e6, False, "no gateway has it yet"),
        (False, False, 100, True, "there is no gateway"),
        (False, False, 99, False, "but its time to live counts all the same"),
    ],
)
def test_when_a_finished_job_may_go(
    archived: bool,  # noqa: FBT001  # a table
    require: bool,  # noqa: FBT001
    seconds: float,
    due: bool,  # noqa: FBT001
    why: str,
) -> None:
    jobs = kept(finished(archived=archived, ttlSecondsAfterFinished=100), require_archive=require)
    assert jobs.expired(after(seconds), 9) == ([Expired(ALLEY, UID)] if due else []), why


def test_what_holds_a_job_is_in_its_status_whatever_its_namespace_does_by_now() -> None:
    free = finished("free", uid="free")
    free = having(free, free.status.model_copy(update={"holds": ()}), version=6)
    taken = finished("taken", uid="taken", namespace="press")
    taken = having(taken, taken.status.model_copy(update={"holds": ("take",)}), version=6)
    jobs = kept(free, taken)
    assert (jobs.holds_in("film"), jobs.holds_in("press")) == (("archive",), ())
    assert (list(jobs.unreleased()), jobs.in_namespace("film")) == ([free, taken], ["free"])
    assert jobs.expired(NOW + 900 * DAY, 9) == [Expired(("film", "free"), "free")]


def test_no_more_expire_at_once_than_are_asked_for() -> None:
    jobs = kept(*(finished(f"n{number}", uid=f"u{number}", archived=True) for number in range(3)))
    assert [found.uid for found in jobs.expired(NOW + 9 * DAY, 2)] == ["u0", "u1"]


def test_a_live_job_never_expires() -> None:
    assert kept(running()).expired(NOW + 900 * DAY, 9) == []


def test_those_that_somebody_holds_are_told_again_and_listed() -> None:
    jobs = kept(
        fresh := finished("b", uid="b"),
        finished("c", uid="c", archived=True),
        job("a", uid="a"),
        job("z", uid="z", namespace="press"),
    )
    assert list(jobs.unreleased()) == [fresh]
    assert (jobs.in_namespace("film"), jobs.in_namespace("press"), jobs.in_namespace("radio")) == (
        ["a", "b"],
        ["z"],
        [],
    )


# ── malformed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def malformed(*, version: int = 3, status: dict[str, Any] | None = None) -> Malformed[GenerationJob]:
    found = read_job(raw_job(version=version, quality="preview", status=status))
    assert isinstance(found, Malformed)
    return found


def test_a_malformed_job_lives_and_is_not_there_for_others() -> None:
    jobs = kept(wrong := malformed())
    assert (jobs.live(ALLEY), jobs.read(ALLEY), jobs.find(ALLEY), jobs.uid(ALLEY)) == (wrong, wrong, None, UID)


def test_a_malformed_job_that_is_finished_is_kept_as_it_is_stored_and_does_not_expire() -> None:
    ended = finished(archived=True).status.model_dump(mode="json", exclude_defaults=True)
    jobs = kept(wrong := malformed(status=ended), require_archive=False)
    assert (jobs.live(ALLEY), len(jobs), jobs.finished_count) == (None, 0, 1)
    assert (jobs.read(ALLEY), jobs.find(ALLEY), list(jobs.unreleased())) == (wrong, None, [])
    assert jobs.expired(NOW + 900 * DAY, 9) == []
    assert jobs.drop(ALLEY, UID) == wrong.resource
