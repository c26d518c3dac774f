"""The table of spec fields, the half that needs no cluster: every field has rows, the CRDs' schemas refuse what the
table says they refuse, and the lifecycle answers the rest as the operator will.
"""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from auteur_contracts.crds import JOBS, RUNNERS, fields_of, schema_of
from auteur_contracts.resources import FunctionRunner, GenerationJob
from auteur_lifecycle.capabilities import CLUSTER
from auteur_lifecycle.parameters import check_schemas
from auteur_lifecycle.status import Seen, next_status
from tests.support.spec_fields import Row, catalogue, rows
from tests.unit.lifecycle.making import NOW, UID, nobody

JOB_ROWS, RUNNER_ROWS = rows("GenerationJob"), rows("FunctionRunner")


def fields(declaration: Any) -> set[str]:
    """Below spec, and without what is free JSON."""
    found = fields_of(schema_of(declaration)["properties"]["spec"])
    return {path for path, _ in found if path and not path.endswith(("[]", "*"))}


@pytest.mark.parametrize(
    ("declaration", "table"), [(JOBS, JOB_ROWS), (RUNNERS, RUNNER_ROWS)], ids=["GenerationJob", "FunctionRunner"]
)
def test_every_field_has_a_row_with_a_refusal(declaration: Any, table: list[Row]) -> None:
    assert {row.field for row in table} <= fields(declaration), "these fields are gone"
    missing = fields(declaration) - {row.field for row in table if row.refused}
    assert not missing, f"say in tests/data/cluster/spec-fields.yaml what the API server refuses of {sorted(missing)}"


def test_every_field_of_a_job_has_a_row_with_an_answer() -> None:
    missing = {path for path in fields(JOBS) if "." not in path} - {row.field for row in JOB_ROWS if row.says}
    assert not missing, f"say in tests/data/cluster/spec-fields.yaml what the operator answers to {sorted(missing)}"


@pytest.mark.parametrize("row", [*JOB_ROWS, *RUNNER_ROWS], ids=str)
def test_a_row_expects_one_thing(row: Row) -> None:
    assert sum(map(bool, (row.refused, row.says, row.unready))) == 1


def parsed(row: Row) -> BaseModel | None:
    """None where pydantic refuses it."""
    resource = row.resource("row")
    resource["metadata"] |= {"uid": UID, "creationTimestamp": NOW}
    model: type[BaseModel] = GenerationJob if row.kind == "GenerationJob" else FunctionRunner
    try:
        return model.model_validate(resource)
    except ValidationError:
        return None


LAXER = (
    "Duplicate value",  # one machine finds it when it plans the job
    "low is read as draft",
    'must be of type boolean: "string"',  # YAML's yes is as good as true
    'usdPerSecond in body must be of type string: "number"',
)


@pytest.mark.parametrize(
    "row",
    [row for row in (*JOB_ROWS, *RUNNER_ROWS) if row.refused and not any(word in row.refused for word in LAXER)],
    ids=str,
)
def test_what_a_cluster_refuses_pydantic_refuses_too(row: Row) -> None:
    assert parsed(row) is None


@pytest.mark.parametrize("row", [row for row in JOB_ROWS if row.says], ids=str)
def test_what_the_lifecycle_answers(row: Row) -> None:
    job = parsed(row)
    if (
        row.says.get("Accepted") == "False/InvalidRequest"
    ):  # beyond a schema: the operator says it of what pydantic says
        assert job is None
        return
    assert isinstance(job, GenerationJob)
    seen = Seen(catalogue=catalogue(), lookup=nobody, bucket="media", platform=CLUSTER)
    status = next_status(job, seen, NOW)
    assert row.answered(status) == row.says
    if row.message:
        last = next(told for told in status.conditions if told.type == list(row.says)[-1])
        assert last.message == row.message_in()


@pytest.mark.parametrize("row", [row for row in RUNNER_ROWS if row.unready], ids=str)
def test_why_a_runner_that_a_cluster_takes_is_not_ready(row: Row) -> None:
    runner = parsed(row)
    assert isinstance(runner, FunctionRunner)
    assert check_schemas(runner) == row.unready
