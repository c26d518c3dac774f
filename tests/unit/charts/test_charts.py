"""What of the charts needs neither helm nor a cluster: values and their schema know each other, and who may say what on
NATS is said in the contracts' own words.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from auteur_contracts import catalogue, subjects
from auteur_contracts.subjects import WORKER_FACTS, Claim, Heartbeat, JobCommand, ReportOf
from auteur_kit import streams

ROOT = Path(__file__).parents[3]
CHARTS = ("auteur", "auteur-runners")


def of_chart(chart: str, file: str) -> str:
    return (ROOT / "charts" / chart / file).read_text()


def values_of(chart: str) -> dict[str, Any]:
    found = yaml.safe_load(of_chart(chart, "values.yaml"))
    assert isinstance(found, dict)
    return found


# ── values and schema ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chart", CHARTS)
def test_the_schema_takes_the_defaults(chart: str) -> None:
    schema = json.loads(of_chart(chart, "values.schema.json"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(values_of(chart))


def test_every_value_has_a_default_to_read_about() -> None:
    """But what stands only where somebody sets it: a claim of resources."""
    schema = json.loads(of_chart("auteur", "values.schema.json"))
    written = set(_paths(values_of("auteur")))
    missing = {path for path in _declared(schema, schema) if path not in written}
    assert {path for path in missing if "resources." not in path} == {"global"}


def _paths(values: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield f"{prefix}{key}"
            yield from _paths(value, f"{prefix}{key}.")


def _declared(schema: dict[str, Any], root: dict[str, Any], prefix: str = "") -> Iterator[str]:
    resolved = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for key, child in resolved.get("properties", {}).items():
        yield f"{prefix}{key}"
        yield from _declared(child, root, f"{prefix}{key}.")


@pytest.mark.parametrize("chart", CHARTS)
def test_no_key_goes_unnoticed(chart: str) -> None:
    """Every object of fixed keys refuses others: a misspelt key would be a default in disguise."""
    schema = json.loads(of_chart(chart, "values.schema.json"))
    fixed = {path: each for path, each in _objects(schema) if "properties" in each}
    assert "" in fixed
    assert [path for path, each in fixed.items() if each.get("additionalProperties", True)] == []


def _objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, child in schema.items():
            yield from _objects(child, f"{path}/{key}")


def test_skaffold_sets_values_that_there_are() -> None:
    releases = yaml.safe_load((ROOT / "skaffold.yaml").read_text())["deploy"]["helm"]["releases"]
    assert {release["name"] for release in releases} == set(CHARTS)
    for release in releases:
        known = set(_paths(values_of(release["name"])))
        assert {*release.get("setValueTemplates", {}), *release.get("setValues", {})} - known == set()


# ── who may say what ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def allowed() -> dict[str, list[str]]:
    """User → what it may publish, as the chart's NATS configuration has it."""
    text = of_chart("auteur", "templates/nats/config.yaml").replace("{{ $namespace }}", "studio")
    found = {}
    for user in ("gateway", "worker"):
        part = text[text.index(f"user: {user}") :]
        found[user] = re.findall(r'"([^"]+)"', part[part.index("publish {") : part.index("subscribe {")])
    return found


def test_what_may_be_said_is_in_the_contracts_words(allowed: dict[str, list[str]]) -> None:
    """A subject that nobody parses would be a right for nothing, and a renamed one a program that is not heard."""
    ours = [subject for each in allowed.values() for subject in each if not subject.startswith("$JS.")]
    filled = [
        each.replace("job.*.*", "job.u1.cancel").replace("*.*.*", "pool.u1.1").replace("*", "u1") for each in ours
    ]
    assert [str(subjects.parse(each)) for each in filled] == filled
    assert {type(subjects.parse(each)) for each in filled} >= {JobCommand, Claim, ReportOf, Heartbeat}


def test_workers_tell_the_facts_of_workers_and_no_other(allowed: dict[str, list[str]]) -> None:
    told = {subject.rpartition(".")[2] for subject in allowed["worker"] if subject.startswith("auteur.event.")}
    assert told == {fact.value for fact in WORKER_FACTS}
    assert not any(subject.startswith("auteur.event.") for subject in allowed["gateway"])


def test_streams_and_buckets_are_those_of_the_kit(allowed: dict[str, list[str]]) -> None:
    asked = [subject for each in allowed.values() for subject in each if subject.startswith("$JS.")]
    words = {word for subject in asked for word in subject.split(".")}
    verbs = {"$JS", "API", "ACK", "STREAM", "CONSUMER", "INFO", "CREATE", "DURABLE", "MSG", "NEXT", "GET", "*", ">"}
    assert words - verbs == {streams.EVENTS, streams.WORK, f"KV_{catalogue.BUCKET}"}
