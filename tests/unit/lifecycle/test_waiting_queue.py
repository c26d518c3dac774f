"""The waiting line: by priority, then age, positions exact."""

from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts.resources import GenerationJob
from auteur_contracts.vocabulary import Priority
from auteur_lifecycle.waiting_queue import WaitingQueue, place_of
from tests.unit.lifecycle.making import after, job


def one(uid: str, age: float = 0, priority: Priority = Priority.NORMAL) -> GenerationJob:
    return job(uid=uid, created=after(-age), priority=priority)


def test_priority_then_age_then_uid() -> None:
    line = WaitingQueue()
    for waits in (
        one("young"),
        one("old", 60),
        one("low", 600, Priority.LOW),
        one("high", 0, Priority.HIGH),
        one("twin-b", 30),
        one("twin-a", 30),
    ):
        line.join(waits)
    assert line.uids() == ["high", "old", "twin-a", "twin-b", "young", "low"]
    assert [line.position(uid) for uid in line.uids()] == [1, 2, 3, 4, 5, 6]
    assert line.head is not None
    assert line.head.uid == "high"


def test_joining_twice_keeps_the_place_and_leaving_twice_is_nothing() -> None:
    line = WaitingQueue()
    line.join(one("a", 2))
    line.join(one("b", 1))
    line.join(one("b", 100))
    assert line.uids() == ["a", "b"]
    line.leave("a")
    line.leave("a")
    assert line.uids() == ["b"]
    assert "a" not in line
    assert line.position("a") is None


def test_an_empty_line_has_no_head() -> None:
    assert WaitingQueue().head is None


waits = st.builds(one, st.text("abcd", min_size=1, max_size=2), st.integers(0, 3), st.sampled_from(Priority))


@given(st.lists(st.tuples(waits, st.booleans()), max_size=40))
def test_the_line_is_always_the_sorted_list_of_those_who_wait(moves: list[tuple[GenerationJob, bool]]) -> None:
    line, model = WaitingQueue(), dict[str, GenerationJob]()
    for who, joins in moves:
        if joins:
            line.join(who)
            model.setdefault(who.metadata.uid, who)
        else:
            line.leave(who.metadata.uid)
            model.pop(who.metadata.uid, None)
    expected = sorted(model, key=lambda uid: place_of(model[uid]))
    assert line.uids() == expected
    assert len(line) == len(expected)
    assert [line.position(uid) for uid in expected] == list(range(1, len(expected) + 1))
