"""The CRDs say what the models say: everything is described and bounded, and what one side lets through the other can
read.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel, ValidationError, create_model

from auteur_contracts.crds import (
    AS_A_WHOLE,
    DECLARATIONS,
    JOBS,
    RUNNERS,
    Declaration,
    NotDeclarable,
    crd,
    fields_of,
    schema_of,
)
from auteur_contracts.orders import Outcome
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobSpec, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType, Fault, OpenWord, Phase, Reason
from auteur_lifecycle import status as lifecycle
from tests.support.schemas import complaints, largest, values
from tests.unit.lifecycle import making

ROOT = Path(__file__).parents[3]
both = pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.kind)


SCHEMAS = {declaration.kind: schema_of(declaration) for declaration in DECLARATIONS}


def part(declaration: Declaration, name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMAS[declaration.kind]["properties"][name]
    return found


def field(declaration: Declaration, path: str) -> dict[str, Any]:
    return dict(fields_of(SCHEMAS[declaration.kind]))[path]


# ── what they say ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_how_a_job_is_called_and_shown() -> None:
    spec = crd(JOBS)["spec"]
    version = spec["versions"][0]
    assert (spec["group"], spec["scope"], version["name"]) == ("auteur.studio", "Namespaced", "v1alpha1")
    assert version["subresources"] == {"status": {}}
    names = spec["names"]
    assert (names["plural"], names["shortNames"], names["categories"]) == ("generationjobs", ["gj"], ["auteur"])
    columns = version["additionalPrinterColumns"]
    assert [each["name"] for each in columns if "priority" not in each] == [
        "Function",
        "Quality",
        "Phase",
        "Progress",
        "Age",
    ]
    assert [each["name"] for each in columns if "priority" in each] == ["Runner", "Queue", "ETA", "Cost"]


@both
def test_a_column_shows_a_field_that_is_there(declaration: Declaration) -> None:
    known = {f".{path}" for path, _ in fields_of(SCHEMAS[declaration.kind])} | {".metadata.creationTimestamp"}
    assert {column.path for column in declaration.columns} <= known


@both
def test_every_field_says_what_it_is_for(declaration: Declaration) -> None:
    for path, schema in fields_of(SCHEMAS[declaration.kind]):
        if path not in ("metadata", "status.plan.params") and not path.endswith(("[]", "*")):
            assert len(schema.get("description", "")) > 5, f"{path} needs a docstring in {declaration.kind}"


@both
def test_everything_is_bounded(declaration: Declaration) -> None:
    """CEL's cost is estimated from the bounds, and a status must fit into a store that takes 1.5 MB."""
    for path, schema in fields_of(SCHEMAS[declaration.kind]):
        if path in ("apiVersion", "kind", "metadata"):
            continue
        match schema.get("type"):
            case "string":
                assert "enum" in schema or "maxLength" in schema, path
            case "array":
                assert "maxItems" in schema, path
            case "object":
                assert "properties" in schema or "maxProperties" in schema, path


def test_a_job_shows_what_holds_for_it_and_nothing_that_says_nothing() -> None:
    defaults = {path: schema["default"] for path, schema in fields_of(SCHEMAS[JOBS.kind]) if "default" in schema}
    assert defaults == {
        "spec.function": "text-to-image",
        "spec.quality": "standard",
        "spec.project": "default",
        "spec.priority": "normal",
        "spec.retries": 2,
        "spec.deadline": "5m",
        "spec.startDeadline": "1h",
        "spec.ttlSecondsAfterFinished": 86400,
    }
    written = {f"spec.{name}": value for name, value in GenerationJobSpec().model_dump(mode="json").items()}
    assert defaults.items() <= written.items()


def test_a_runners_defaults_are_told_and_not_written() -> None:
    assert not [path for path, schema in fields_of(SCHEMAS[RUNNERS.kind]) if "default" in schema]
    assert field(RUNNERS, "spec.setupTimeout")["description"].endswith("Default: 10m.")
    assert field(RUNNERS, "spec.functions.[].inputs.[].required")["description"].endswith("Default: true.")


def test_the_older_word_for_draft_is_read_but_never_written() -> None:
    words = ["draft", "standard", "high", "ultra"]
    assert field(JOBS, "spec.quality")["enum"] == [*words, "low"]
    assert "`low` is read as `draft`" in field(JOBS, "spec.quality")["description"]
    assert field(RUNNERS, "spec.tiers.[].quality")["enum"] == [*words, "low"]
    assert field(JOBS, "status.plan.tier.quality")["enum"] == words
    assert field(RUNNERS, "status.tiers.[].quality")["enum"] == words


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("status.conditions.[].reason", Reason),
        ("status.conditions.[].type", ConditionType),
        ("status.phase", Phase),
        ("status.failure.reason", Reason),
        ("status.failure.fault", Fault),
    ],
)
def test_a_newer_operator_may_say_new_words(path: str, words: type[OpenWord]) -> None:
    schema = field(JOBS, path)
    assert "enum" not in schema
    assert all(not complaints(schema, word) for word in (*(word.value for word in words), "Levitating"))


def test_free_json_is_a_map_of_anything_that_has_one_owner() -> None:
    for declaration, path in (
        (JOBS, "spec.params"),
        (JOBS, "status.plan.params"),
        (RUNNERS, "spec.functions.[].paramsSchema"),
        (RUNNERS, "spec.functions.[].example"),
        (RUNNERS, "spec.tiers.[].defaults"),
    ):
        schema = field(declaration, path)
        assert schema["x-kubernetes-map-type"] == "atomic"
        assert schema["additionalProperties"] == {"x-kubernetes-preserve-unknown-fields": True, "nullable": True}


@both
def test_every_rule_says_what_to_do(declaration: Declaration) -> None:
    for path, rules in declaration.rules.items():
        for rule in rules:
            assert len(rule.message) > 15, path
            assert rule.message[-1] not in ".\n", "kubectl puts it into the middle of a line"


# ── mistakes of those who write models ────────────────────────────────────────────────────────────────────────────────


def declared(annotation: Any, **more: Any) -> Declaration:
    spec = create_model("Spec", field=(annotation, ...))
    model = create_model("Thing", spec=(spec, ...), status=(spec, ...))
    return Declaration(model=model, plural="things", short="th", columns=(), **{"keys": {}, "rules": {}, **more})


def test_how_lists_are_owned() -> None:
    lists = {
        name: {key: value for key, value in schema.items() if key.startswith("x-kubernetes-list")}
        for name, annotation, more in (
            ("words", list[str], {}),
            ("set", set[str], {}),
            ("keyed", list[Item], {"keys": {"spec.field": "name", "status.field": "name"}}),
            ("whole", list[Item], {"keys": {"spec.field": AS_A_WHOLE, "status.field": AS_A_WHOLE}}),
        )
        for schema in [schema_of(declared(annotation, **more))["properties"]["spec"]["properties"]["field"]]
    }
    assert lists == {
        "words": {"x-kubernetes-list-type": "atomic"},
        "set": {"x-kubernetes-list-type": "set"},
        "keyed": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        "whole": {"x-kubernetes-list-type": "atomic"},
    }


class Item(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        (declared(list[Item]), "Thing: spec.field is a list of objects; say in crds by what they differ"),
        (declared(int | str), "Thing: spec.field: a union of 2 schemas; use one object with optional members"),
        (declared(int, keys={"spec.gone": "name"}), "Thing: crds names fields that are not there: spec.gone"),
        (declared(int, rules={"spec.feild": ()}), "Thing: crds names fields that are not there: spec.feild"),
    ],
)
def test_what_cannot_be_declared_is_said(declaration: Declaration, said: str) -> None:
    with pytest.raises(NotDeclarable) as refused:
        schema_of(declaration)
    assert str(refused.value).startswith(said)


# ── both sides read each other ────────────────────────────────────────────────────────────────────────────────────────

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def lives() -> dict[str, GenerationJob]:
    """A job at each turn of its life, and some of the worst."""
    running = making.running()
    done = making.report(Outcome.SUCCEEDED, outputs=[making.output().model_dump()], warnings=["a word"])
    failed = making.report(Outcome.FAILED, failure=making.failure(Fault.USER).model_dump())
    refused = making.job(params={"prompt": "x", "stepz": 3})
    lost = lifecycle.lose(running, 1, NOW)
    return {
        "asked": making.job(),
        "waiting": making.waiting(),
        "dispatched": making.dispatched(),
        "running": running,
        "succeeded": making.having(running, lifecycle.report(running, done, NOW)),
        "failed": making.having(running, lifecycle.report(running, failed, NOW)),
        "lost": making.having(running, lost),
        "cancelled": making.having(running, lifecycle.cancel(running, "somebody", NOW)),
        "refused": making.having(refused, lifecycle.next_status(refused, making.seen(), NOW)),
        "suspended": making.waiting(suspend=True),
    }


@pytest.mark.parametrize("name", lives())
def test_what_the_lifecycle_says_of_a_job_can_be_written(name: str) -> None:
    job = lives()[name]
    written = job.model_dump(mode="json", exclude_none=True)
    assert complaints(part(JOBS, "status"), written["status"]) == []
    assert complaints(part(JOBS, "spec"), written["spec"]) == []
    assert GenerationJob.model_validate(written) == job


DURATIONS = frozenset({"deadline", "startDeadline", "setupTimeout"})
"""At most a year: a schema counts characters, not days. The operator answers it."""
AMOUNTS = frozenset({"usdPerSecond", "usd"})
"""How much at most is a rule of CEL in specs, and left out in a status, which only the operator writes."""


def parses(model: type[BaseModel], value: Any, *, beyond: frozenset[str]) -> None:
    """What an API server lets through, pydantic reads, but for the fields that are beyond a schema."""
    complained = set[str]()
    try:
        model.model_validate(value)
    except ValidationError as error:
        complained = {str(each["loc"][-1]) for each in error.errors()}
    assert complained <= beyond


def storable(value: Any) -> bool:
    """An API server stores NUL, our databases do not."""
    return "\\u0000" not in json.dumps(value)


def kept_rules(spec: dict[str, Any]) -> bool:
    """The CEL rules, which the schema does not know."""
    durations = [spec[name] for name in DURATIONS if name in spec]
    sources = [("uri" in item) != ("from" in item) for item in spec.get("inputs", ())]
    prices = [tier["price"]["usdPerSecond"] for tier in spec.get("tiers", ()) if "price" in tier]
    positive = all(any(digit in text for digit in "123456789") for text in durations)
    return storable(spec) and positive and all(sources) and all(float(price) <= 1000 for price in prices)


patient = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@patient
@given(values(part(JOBS, "spec")).filter(kept_rules))
def test_a_job_that_a_cluster_takes_can_be_read(spec: dict[str, Any]) -> None:
    assert complaints(part(JOBS, "spec"), spec) == []
    parses(GenerationJob, {"metadata": {"name": "a"}, "spec": spec}, beyond=DURATIONS)


@patient
@given(values(part(RUNNERS, "spec")).filter(kept_rules))
def test_a_runner_that_a_cluster_takes_can_be_read(spec: dict[str, Any]) -> None:
    assert complaints(part(RUNNERS, "spec"), spec) == []
    parses(FunctionRunner, {"metadata": {"name": "a"}, "spec": spec}, beyond=DURATIONS)


@patient
@given(values(part(JOBS, "status")).filter(storable))
def test_a_status_that_a_cluster_takes_can_be_read(status: dict[str, Any]) -> None:
    assert complaints(part(JOBS, "status"), status) == []
    parses(GenerationJobStatus, status, beyond=AMOUNTS)


# ── how large ─────────────────────────────────────────────────────────────────────────────────────────────────────────

STORE_TAKES = 1_572_864
"""etcd's limit for a request, 1.5 MiB."""


def test_the_largest_status_there_can_be_fits_into_the_store() -> None:
    status = largest(part(JOBS, "status"), free=144 * 1024)
    assert complaints(part(JOBS, "status"), status) == []
    read = GenerationJobStatus.model_validate(status)
    assert len(read.outputs) == 256
    assert len(json.dumps(status, ensure_ascii=False).encode()) < STORE_TAKES * 2 / 3


def test_what_is_too_large_for_the_store_is_refused_when_it_is_read() -> None:
    """No schema can count the bytes of free JSON: pydantic does, and the operator says so."""
    with pytest.raises(ValidationError, match="may have 131072: large data belongs into files"):
        GenerationJobSpec.model_validate({"params": {"prompt": "x" * 131072}})
    assert field(JOBS, "spec.params")["maxProperties"] == 256
