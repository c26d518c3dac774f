"""Names for jobs whose author gave none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from auteur_contracts.quantities import JobName
from auteur_gateway.naming import job_name, numbered, word_of

_job_name: TypeAdapter[str] = TypeAdapter(JobName)


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("misty cyberpunk alley", "alley"),
        ("a small green ring on white", "ring"),
        ("a large red star on a blue background", "star"),
        ("The Cat, sleeping", "cat"),
        ("Ein süßes Kätzchen", "katzchen"),
        ("on the road", "road"),
        ("日本", "text-to-image"),
        ("", "text-to-image"),
    ],
)
def test_a_job_is_named_after_what_it_shows(prompt: str, word: str) -> None:
    assert word_of(prompt, "text-to-image") == word


@given(
    st.text(max_size=80),
    st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    st.binary(min_size=5, max_size=5),
)
def test_every_name_is_one_that_a_job_may_have(prompt: str, function: str, random_bytes: bytes) -> None:
    names = [*numbered(job_name(prompt, function, random_bytes), 16)]
    assert [_job_name.validate_python(name) for name in names] == names
    assert len(set(names)) == 16


def test_long_names_leave_room_for_their_number() -> None:
    assert numbered("star", 1) == ("star",)
    assert numbered("star", 2) == ("star-1", "star-2")
    for name in numbered("a" * 50, 16):
        _job_name.validate_python(name)
