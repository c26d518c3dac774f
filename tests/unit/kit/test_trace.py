"""The trace context of jobs."""

import pytest

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob
from auteur_kit import trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("traceparent", "valid", "reason"),
    [
        (PARENT, True, "the example of the specification"),
        (f"00-{TRACE}-{SPAN}-00", True, "not sampled"),
        (f"01-{TRACE}-{SPAN}-01-later", True, "a later version may have more fields"),
        (f"00-{TRACE}-{SPAN}-01-later", False, "version 00 has four"),
        (f"ff-{TRACE}-{SPAN}-01", False, "the version that never is"),
        (f"00-{'0' * 32}-{SPAN}-01", False, "a trace id of zeros"),
        (f"00-{TRACE}-{'0' * 16}-01", False, "a parent id of zeros"),
        (PARENT.upper(), False, "capitals"),
        (f"00-{TRACE[:-1]}-{SPAN}-01", False, "too short"),
        ("", False, "nothing"),
    ],
)
def test_a_traceparent_is_what_the_specification_says(traceparent: str, valid: bool, reason: str) -> None:  # noqa: FBT001
    assert trace.valid(traceparent) is valid, reason
    assert trace.trace_id(traceparent) == (TRACE if valid else "")


def job(uid: str, **annotations: str) -> GenerationJob:
    return GenerationJob.model_validate(
        {
            "metadata": {"name": "alley", "uid": uid, "annotations": annotations},
            "spec": {"function": "text-to-image"},
        }
    )


def test_a_job_belongs_to_the_span_that_asked_for_it() -> None:
    assert trace.parent_of(job("u1", **{names.ANNOTATION_TRACEPARENT: PARENT})) == PARENT


@pytest.mark.parametrize("annotations", [{}, {names.ANNOTATION_TRACEPARENT: f"00-{'0' * 32}-{SPAN}-01"}])
def test_a_job_that_nobody_traced_has_a_trace_by_its_uid(annotations: dict[str, str]) -> None:
    made = job("4BF92F35-77b3-4da6-a3ce-929d0e0e4736", **annotations)
    assert trace.parent_of(made) == f"00-{TRACE}-{TRACE[:16]}-01"


@pytest.mark.parametrize("uid", ["u1", "", "00000000-0000-0000-0000-000000000000", "0" * 16 + TRACE[:16]])
def test_every_uid_gives_a_valid_trace_and_always_the_same(uid: str) -> None:
    assert trace.valid(trace.parent_of(job(uid)))
    assert trace.parent_of(job(uid)) == trace.parent_of(job(uid))
