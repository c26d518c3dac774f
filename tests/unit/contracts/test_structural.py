"""Our resources can become CRDs: what pydantic writes is rewritten, and what cannot be rewritten is found."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobSpec
from auteur_contracts.structural import ANYTHING, structural


@pytest.mark.parametrize("resource", [GenerationJob, FunctionRunner])
def test_a_resource_can_be_declared_to_a_cluster(resource: type[BaseModel]) -> None:
    assert structural(resource.model_json_schema(mode="validation", by_alias=True)).violations == ()


def test_the_schemas_defaults_are_the_models() -> None:
    written = GenerationJobSpec().model_dump(mode="json")
    properties = GenerationJobSpec.model_json_schema(mode="validation", by_alias=True)["properties"]
    declared = {name: field["default"] for name, field in properties.items() if "default" in field}
    assert declared == {name: written[name] for name in declared}
    assert declared["deadline"] == "5m"


class Colour(StrEnum):
    RED = "red"


class Leaf(BaseModel):
    text: str


class Other(BaseModel):
    number: int


class Tree(BaseModel):
    children: list["Tree"] = []


class Kind(BaseModel):
    kind: Literal["a"]


class KindB(BaseModel):
    kind: Literal["b"]


class Good(BaseModel):
    """Everything that the usual rewriting can save."""

    leaf: Leaf
    again: Leaf | None = None
    version: Literal["v1"] = "v1"
    positive: int = Field(1, gt=0)
    colour: Colour = Colour.RED
    pair: tuple[int, int] = (1, 2)
    row: tuple[str, ...] = ()
    names: set[str] = set()
    labels: dict[str, str] = {}
    when: datetime | None = None
    free: Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})] = {}


def field_of(annotation: Any, default: Any = ...) -> list[str]:
    model = type("Spec", (BaseModel,), {"__annotations__": {"field": annotation}, "field": default})
    assert issubclass(model, BaseModel)
    return list(structural(model.model_json_schema(mode="validation", by_alias=True)).violations)


def test_what_the_usual_rewriting_saves_is_no_violation() -> None:
    schema = Good.model_json_schema(mode="validation", by_alias=True)
    del schema["properties"]["free"]["additionalProperties"]  # what preserving unknown fields replaces
    assert structural(schema).violations == ()


def test_the_usual_rewriting() -> None:
    schema = Good.model_json_schema(mode="validation", by_alias=True)
    del schema["properties"]["free"]["additionalProperties"]
    leaf = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    assert structural(schema).schema == {
        "type": "object",
        "description": "Everything that the usual rewriting can save.",
        "required": ["leaf"],
        "properties": {
            "leaf": leaf,
            "again": leaf,
            "version": {"type": "string", "enum": ["v1"], "default": "v1"},
            "positive": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "default": 1},
            "colour": {"type": "string", "enum": ["red"], "default": "red"},
            "pair": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 2,
                "maxItems": 2,
                "default": [1, 2],
            },
            "row": {"type": "array", "items": {"type": "string"}, "default": []},
            "names": {
                "type": "array",
                "items": {"type": "string"},
                "x-kubernetes-list-type": "set",
                "default": [],
            },
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
            "when": {"type": "string", "format": "date-time"},
            "free": {"type": "object", "additionalProperties": ANYTHING, "default": {}},
        },
    }


@pytest.mark.parametrize(
    ("annotation", "violation"),
    [
        (Tree, "field.children.[]: Tree contains itself"),
        (Leaf | Other, "field: a union of 2 schemas; use one object with optional members"),
        (int | str, "field: a union of 2 schemas; use one object with optional members"),
        (Leaf | Other | None, "field: a union of 2 schemas; use one object with optional members"),
        (Annotated[Kind | KindB, Field(discriminator="kind")], "field: the keyword oneOf has no counterpart"),
        (Any, "field: has no type"),
        (list[Any], "field.[]: any value is allowed here"),
        (list, "field.[]: any value is allowed here"),
        (dict[str, Any], "field.*: any value is allowed here"),
        (tuple[int, str], "field: a tuple of different schemas; use an object with named members"),
        (set[Leaf], "field: a set of objects; a CRD compares scalars only"),
        (dict[Colour, int], "field: the keyword propertyNames has no counterpart"),
        (dict[Annotated[str, Field(pattern="^a")], int], "field: the keyword patternProperties has no counterpart"),
        (None, "field: its type is 'null'; a CRD knows single types only, and not null"),
        (Literal[1, "a"], "field: has no type"),
        (
            Annotated[str, Field(json_schema_extra={"pattern": "^(?!x)"})],
            "field: its pattern looks ahead, behind or back, which RE2 does not know",
        ),
        (Annotated[int, Field(json_schema_extra={"not": {}})], "field: the keyword not has no counterpart"),
    ],
    ids=str,
)
def test_what_a_cluster_cannot_express_is_found(annotation: Any, violation: str) -> None:
    assert any(found.startswith(violation) for found in field_of(annotation)), field_of(annotation)


@pytest.mark.parametrize(
    ("annotation", "default", "why"),
    [
        (Annotated[str, Field(pattern="^[a-z]$")], "PT5M", "does not match its pattern"),
        (Colour, "blue", "is not one of its values"),
        (Literal["v1"], "v2", "is not one of its values"),
        (int, "many", "is not of type integer"),
        (int, True, "is not of type integer"),
    ],
)
def test_a_default_that_breaks_its_own_schema_is_found(annotation: Any, default: Any, why: str) -> None:
    (found,) = field_of(annotation, default)
    assert why in found


def test_an_object_that_would_keep_nothing_is_found() -> None:
    class Empty(BaseModel):
        pass

    (found,) = field_of(Empty)
    assert "keeps nothing" in found


def test_a_resource_is_an_object() -> None:
    assert structural({"type": "string"}).violations == ("(root): a resource is an object with properties",)
