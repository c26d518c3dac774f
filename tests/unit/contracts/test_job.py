"""GenerationJob as people write it: short forms work, and a mistake is named by its field."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from auteur_contracts.resources import (
    Condition,
    Cost,
    FunctionRunner,
    GenerationJob,
    GenerationJobStatus,
    JobInput,
    ObjectMeta,
    OutputOf,
    Progress,
    QueueStatus,
    Resources,
    Shown,
)
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Priority, Quality, Reason


def job(**spec: Any) -> GenerationJob:
    return GenerationJob.model_validate({"metadata": {"name": "demo-1"}, "spec": spec})


def fields_at_fault(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        GenerationJob.model_validate(document)
    return [".".join(str(part) for part in error["loc"]) for error in caught.value.errors()]


def test_a_name_is_enough() -> None:
    made = job()
    assert made.spec.function == "text-to-image"
    assert made.spec.quality is Quality.STANDARD
    assert made.spec.priority is Priority.NORMAL
    assert made.spec.deadline == timedelta(minutes=5)
    assert made.key == ("default", "demo-1")
    assert made.status.attempt == 0


def test_everything_of_the_design_is_read_and_written_back() -> None:
    spec = {
        "function": "image-to-video",
        "quality": "high",
        "runner": "diffusion",
        "params": {"prompt": "a misty alley at night", "seed": 7},
        "paramsFrom": [{"name": "prompt", "job": "script", "output": "script.json", "path": "scenes.0.visual"}],
        "inputs": [
            {"name": "image", "uri": "s3://media/default/film/uploads/cat.png", "from": None},
            {"name": "voice", "uri": None, "from": {"job": "voice-1", "output": "voice.wav"}},
        ],
        "project": "my-film",
        "suspend": True,
        "cancel": False,
        "queue": "team-a",
        "priority": "high",
        "retries": 3,
        "deadline": "10m",
        "startDeadline": "2h",
        "ttlSecondsAfterFinished": 60,
    }
    made = job(**spec)
    assert made.model_dump(mode="json")["spec"] == spec
    assert GenerationJob.model_validate_json(made.model_dump_json()) == made


def test_low_is_the_older_word_for_draft() -> None:
    assert job(quality="low").spec.quality is Quality.DRAFT


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"qualty": "high"}, "spec.qualty"),
        ({"quality": "best"}, "spec.quality"),
        ({"params": {"guidance": float("nan")}}, "spec.params"),
        ({"params": [1]}, "spec.params"),
        ({"retries": 11}, "spec.retries"),
        ({"retries": -1}, "spec.retries"),
        ({"deadline": "soon"}, "spec.deadline"),
        ({"deadline": "0s"}, "spec.deadline"),
        ({"deadline": 300}, "spec.deadline"),
        ({"project": "My Film"}, "spec.project"),
        ({"project": "../x"}, "spec.project"),
        ({"function": "text to image"}, "spec.function"),
        ({"priority": "urgent"}, "spec.priority"),
        ({"ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
        ({"inputs": [{"name": "image"}]}, "spec.inputs.0"),
        ({"inputs": [{"name": "image", "uri": "s3://b/k", "from": {"job": "a"}}]}, "spec.inputs.0"),
        ({"inputs": [{"name": "image", "from": {"job": "a", "output": "../b"}}]}, "spec.inputs.0.from.output"),
        ({"inputs": [{"name": "image", "uri": "s3://b/k", "url": "x"}]}, "spec.inputs.0.url"),
        ({"inputs": [{"name": f"i{number}", "uri": "s3://b/k"} for number in range(33)]}, "spec.inputs"),
        ({"paramsFrom": [{"name": "p", "job": "a", "output": "o", "path": "a b"}]}, "spec.paramsFrom.0.path"),
    ],
)
def test_a_mistake_in_the_spec_is_named_by_its_field(spec: dict[str, Any], field: str) -> None:
    assert fields_at_fault({"metadata": {"name": "demo-1"}, "spec": spec}) == [field]


@pytest.mark.parametrize("name", ["a" * 51, "Demo", "../x", "", "a.b"])
def test_a_name_that_no_pod_could_have_is_refused(name: str) -> None:
    assert fields_at_fault({"metadata": {"name": name}}) == ["metadata.name"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"metadata": {"name": "a"}, "kind": "GenerationJobs"}, "kind"),
        ({"metadata": {"name": "a"}, "apiVersion": "auteur.studio/v2"}, "apiVersion"),
        ({"spec": {}}, "metadata"),
        ({"metadata": {"name": "a"}, "sepc": {}}, "sepc"),
    ],
)
def test_a_mistake_around_the_spec_is_named_too(document: dict[str, Any], field: str) -> None:
    assert fields_at_fault(document) == [field]


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, ""),
        ({"labels": dict.fromkeys(map(str, range(64)), "x")}, ""),
        ({"labels": dict.fromkeys(map(str, range(65)), "x")}, "metadata.labels: there are 65 and may be 64"),
        (
            {"annotations": {"a": "x" * 258048}},
            "metadata.annotations: they have 258049 bytes together and may have 258048",
        ),
    ],
)
def test_what_is_asked_for_leaves_room_and_what_is_there_is_read_whatever_it_has(
    metadata: dict[str, dict[str, str]], why: str
) -> None:
    assert ObjectMeta.model_validate({"name": "demo-1", **metadata}).excess() == why


def test_metadata_may_hold_what_api_servers_add() -> None:
    document = {"metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}], "selfLink": "/x"}}
    assert GenerationJob.model_validate(document).metadata.name == "a"


def test_an_input_says_how_many_sources_it_needs() -> None:
    with pytest.raises(ValidationError, match='input "image" needs either "uri" or "from", not both'):
        JobInput(name="image")
    assert JobInput(name="image", from_=OutputOf(job="a")).uri is None


@pytest.mark.parametrize("missing", ["functions", "tiers"])
def test_a_runner_serves_something_in_some_quality(missing: str) -> None:
    spec = {
        "functions": [{"name": "echo", "paramsSchema": {"type": "object"}}],
        "tiers": [{"quality": "low", "pipeline": "echo"}],
    }
    runner = FunctionRunner.model_validate({"metadata": {"name": "echo"}, "spec": spec})
    assert runner.tier("draft") is runner.spec.tiers[0]
    assert runner.tier("high") is None
    assert runner.function("echo") is runner.spec.functions[0]
    with pytest.raises(ValidationError, match=missing):
        FunctionRunner.model_validate({"metadata": {"name": "echo"}, "spec": spec | {missing: []}})


FINISHED = Condition(
    type=ConditionType.FINISHED,
    status=ConditionStatus.TRUE,
    reason=Reason.OUTPUTS_COMMITTED,
    last_transition_time=datetime(2026, 1, 1, tzinfo=UTC),
)
HALF = Progress(phase="denoise", fraction=0.42, eta_seconds=7)
NEARLY = Progress(phase="denoise", fraction=0.999, eta_seconds=1e300)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (GenerationJobStatus(), None),
        (GenerationJobStatus(queue=QueueStatus(position=3)), None),
        (GenerationJobStatus(queue=QueueStatus(position=3, eta_seconds=40)), Shown(eta="40s")),
        (GenerationJobStatus(progress=HALF), Shown(progress="42%", eta="7.0s")),
        (GenerationJobStatus(progress=NEARLY), Shown(progress="99%", eta="366d")),
        (GenerationJobStatus(progress=HALF, conditions=(FINISHED,)), Shown(progress="42%")),
        (GenerationJobStatus(cost=Cost(usd=Decimal("0.0041"), gpu_seconds=1)), Shown(cost="$0.0041")),
        (GenerationJobStatus(cost=Cost(usd=Decimal(10**15), gpu_seconds=1)), Shown(cost="$1000000000000000.00")),
        (GenerationJobStatus(progress=Progress(phase="x", fraction=0.29)), Shown(progress="29%")),
    ],
)
def test_what_a_column_shows_is_derived_and_never_read_back(status: GenerationJobStatus, shown: Shown | None) -> None:
    assert status.shown == shown
    written = status.model_dump(mode="json")
    assert written["shown"] == (None if shown is None else shown.model_dump())
    assert GenerationJobStatus.model_validate(written | {"shown": {"progress": "77%"}}) == status


@pytest.mark.parametrize("amount", ["1", "0.5", "500m", "2Gi", "1e3"])
def test_an_amount_is_written_as_kubernetes_has_it(amount: str) -> None:
    assert Resources(cpu=amount).cpu == amount


@pytest.mark.parametrize("amount", ["", "much", "2 Gi", "-1", "2GiB", "0x10"])
def test_what_kubernetes_would_not_read_as_an_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValidationError, match="memory"):
        Resources(memory=amount)
