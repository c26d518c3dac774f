"""Parameters against a schema: the sentence for each way of being wrong."""

from typing import Any

import pytest

from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.parameters import check_parameters, check_schemas
from auteur_lifecycle.refusal import Refusal
from tests.unit.lifecycle.making import SCHEMA, runner


@pytest.mark.parametrize(
    ("params", "sentence", "field"),
    [
        ({}, 'f needs the parameter "prompt" (up to 2000 characters).', "params.prompt"),
        ({"prompt": "x", "stepz": 3}, 'f has no parameter "stepz"; did you mean "steps" (1 to 500)?', "params.stepz"),
        ({"stepz": 3}, 'f has no parameter "stepz"; did you mean "steps" (1 to 500)?', "params.stepz"),
        (
            {"prompt": "x", "colour": 3},
            'f has no parameter "colour"; it has mode, prompt, seed, steps, strength, width.',
            "params.colour",
        ),
        (
            {"prompt": "x", "steps": 0},
            'f: parameter "steps": 0 is not allowed; it takes 1 to 500.',
            "params.steps",
        ),
        (
            {"prompt": "x", "steps": "many"},
            "f: parameter \"steps\": 'many' is not allowed; it takes 1 to 500.",
            "params.steps",
        ),
        (
            {"prompt": "x", "steps": True},
            'f: parameter "steps": True is not allowed; it takes 1 to 500.',
            "params.steps",
        ),
        (
            {"prompt": "x", "strength": 2},
            'f: parameter "strength": 2 is not allowed; it takes at most 1.',
            "params.strength",
        ),
        (
            {"prompt": "x", "width": 1},
            'f: parameter "width": 1 is not allowed; it takes at least 16.',
            "params.width",
        ),
        (
            {"prompt": "x", "mode": "slow"},
            "f: parameter \"mode\": 'slow' is not allowed; it takes one of fast, fine.",
            "params.mode",
        ),
        (
            {"prompt": ""},
            "f: parameter \"prompt\": '' is not allowed; it takes up to 2000 characters.",
            "params.prompt",
        ),
        (
            {"prompt": "y" * 100_000},
            f'f: parameter "prompt": \'{"y" * 59}… is not allowed; it takes up to 2000 characters.',
            "params.prompt",
        ),
    ],
)
def test_the_sentence_names_the_parameter_and_what_it_takes(params: dict[str, Any], sentence: str, field: str) -> None:
    refused = check_parameters("f", SCHEMA, params)
    assert refused is not None
    assert (refused.message, refused.field) == (sentence, field)


@pytest.mark.parametrize(
    "params",
    [{"prompt": "x"}, {"prompt": "x", "width": None, "seed": None}, {"prompt": "x", "mode": "fine", "steps": 500}],
)
def test_right_parameters_pass(params: dict[str, Any]) -> None:
    assert check_parameters("f", SCHEMA, params) is None


def test_a_schema_may_allow_names_it_does_not_list() -> None:
    assert check_parameters("f", {"type": "object", "additionalProperties": True}, {"any": 1}) is None


def test_a_function_without_parameters_says_so() -> None:
    refused = check_parameters("f", {"type": "object"}, {"any": 1})
    assert refused is not None
    assert refused.message == 'f has no parameter "any"; it has none.'


def test_a_mistake_inside_a_parameter_is_found_by_its_path() -> None:
    schema = {"properties": {"scenes": {"type": "array", "items": {"type": "integer", "minimum": 1}}}}
    refused = check_parameters("f", schema, {"scenes": [1, 0]})
    assert refused is not None
    assert refused.message == 'f: parameter "scenes.1": 0 is not allowed; it takes at least 1.'


def test_a_name_of_a_hundred_kilobytes_is_not_repeated() -> None:
    refused = check_parameters("f", SCHEMA, {"prompt": "x", "z" * 100_000: 1})
    assert refused is not None
    assert len(refused.message) < 300


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({"type": "array"}, 'f: the schema of its parameters must have type "object"'),
        (
            {"properties": {"steps": {"type": "wholenumber"}}},
            "f: its parameters are no JSON Schema 2020-12: properties.steps.type: 'wholenumber' is not valid",
        ),
        (
            {"properties": {"a": {"$ref": "http://example.com/schema"}}},
            "f: its parameters refer to 'http://example.com/schema', which the schema does not define",
        ),
        (
            {"properties": {"a": {"anyOf": [{"$ref": "#/$defs/A"}]}}, "$defs": {"B": {}}},
            "f: its parameters refer to '#/$defs/A', which the schema does not define",
        ),
        ({"properties": {"a": {"$ref": "#a"}}}, "f: its parameters refer to '#a', which the schema does not define"),
        (
            {"properties": {"a": {"pattern": "("}}},
            "f: its parameters are no JSON Schema 2020-12: properties.a.pattern: '(' is not a 'regex'",
        ),
    ],
)
def test_a_runner_whose_parameters_cannot_be_checked_is_refused(schema: dict[str, Any], wrong: str) -> None:
    assert (check_schemas(runner(name="f", paramsSchema=schema)) or "").startswith(wrong)


def test_a_schema_may_refer_to_its_own_definitions() -> None:
    shared = {"properties": {"a": {"$ref": "#/$defs/A~1B"}}, "$defs": {"A/B": {"type": "string"}}}

    assert check_schemas(runner(paramsSchema=shared)) is None
    assert check_schemas(runner()) is None
    assert check_parameters("f", shared, {"a": "x"}) is None
    assert check_parameters("f", shared, {"a": 3}) is not None


def test_schemas_in_unusual_forms_give_sentences_too() -> None:
    schema = {"properties": {"a": {"type": ["integer", "null"]}, "b": True}, "required": ["b"]}

    assert check_parameters("f", schema, {}) == Refusal(
        Reason.INVALID_PARAMETER, 'f needs the parameter "b".', "params.b"
    )
    wrong = check_parameters("f", schema, {"a": "x", "b": 1})
    assert wrong is not None
    assert wrong.message == "f: parameter \"a\": 'x' is not allowed; it takes a whole number or null."
