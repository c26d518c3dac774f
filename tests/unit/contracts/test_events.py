"""Envelopes: what a fact says of itself decides its type and subjects, and the wire stays what older readers know."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import pytest
from pydantic import ValidationError

from auteur_contracts.events import Envelope, EventData, Progressed, Started
from auteur_contracts.resources import Progress

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class FilmAdvanced(EventData):
    """A new event is one class of data."""

    kind: Literal["film"] = "film"
    fact: Literal["advanced"] = "advanced"
    stage: str


def envelope(**fields: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": "e-1",
        "source": "w-1",
        "time": NOW.isoformat().replace("+00:00", "Z"),
        "namespace": "default",
        "project": "ads",
        "name": "demo-1",
        "uid": "u-1",
        "requestId": "",
        "nodeId": "",
        **fields,
    }


def test_the_wire_of_a_job_is_what_version_1_readers_know() -> None:
    said = Envelope(
        id="e-1",
        source="w-1",
        time=NOW,
        namespace="default",
        project="ads",
        name="demo-1",
        uid="u-1",
        data=Progressed(attempt=2, progress=Progress(phase="denoise", fraction=0.5)),
    )
    assert json.loads(said.model_dump_json(exclude_none=True)) == envelope(
        type="job.progressed",
        subject="default/demo-1",
        data={"fact": "progressed", "attempt": 2, "progress": {"phase": "denoise", "fraction": 0.5}},
    )
    assert said.nats_subject == "auteur.event.v1.default.ads.job.u-1.progressed"
    assert Envelope.model_validate_json(said.model_dump_json()) == said


def test_type_and_subject_are_what_the_data_say_whatever_the_wire_claims() -> None:
    claimed = envelope(type="job.succeeded", subject="other/job", data={"fact": "started", "attempt": 1, "worker": "w"})
    found = Envelope.model_validate(claimed)
    assert (found.type, found.subject, found.data) == (
        "job.started",
        "default/demo-1",
        Started(attempt=1, worker="w"),
    )


def test_another_kind_of_resource_is_one_class_of_data() -> None:
    unchecked: Callable[..., Envelope] = Envelope.model_construct
    said = unchecked(namespace="default", project="ads", name="headphones", uid="u-2", data=FilmAdvanced(stage="clips"))
    assert said.type == "film.advanced"
    assert said.nats_subject == "auteur.event.v1.default.ads.film.u-2.advanced"
    assert said.data.model_dump() == {"kind": "film", "fact": "advanced", "stage": "clips"}


@pytest.mark.parametrize("data", [{"kind": "film", "fact": "accepted"}, {"fact": "exploded"}, {}, 7, None])
def test_a_fact_that_this_version_does_not_know_is_no_fact_of_a_job(data: object) -> None:
    with pytest.raises(ValidationError):
        Envelope.model_validate(envelope(data=data))
