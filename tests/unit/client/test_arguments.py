"""What the words of `auteur create` mean."""

from pathlib import Path
from typing import Any

import pytest

from auteur_client.arguments import (
    Arguments,
    JobOutput,
    LocalFile,
    StoredFile,
    choose_function,
    describe_parameters,
    parse_arguments,
    parse_input,
    typed_params,
)
from auteur_contracts.errors import InvalidRequest
from tests.unit.client.examples import function

KNOWN = ["text-to-image", "image-to-image", "voice"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["a misty alley"], Arguments(None, "a misty alley", {})),
        (["alley"], Arguments(None, "alley", {})),
        (["voice", "Good evening."], Arguments("voice", "Good evening.", {})),
        (["voice"], Arguments("voice", None, {})),
        (["text-to-image", "prompt=x", "steps=3"], Arguments("text-to-image", None, {"prompt": "x", "steps": "3"})),
        (["a sign that says x=1"], Arguments(None, "a sign that says x=1", {})),
        (["steps=3", "a cat"], Arguments(None, "a cat", {"steps": "3"})),
        (["prompt=a=b\nc"], Arguments(None, None, {"prompt": "a=b\nc"})),
        ([], Arguments(None, None, {})),
    ],
)
def test_words_are_sorted_into_function_prompt_and_parameters(words: list[str], meant: Arguments) -> None:
    assert parse_arguments(words, KNOWN) == meant


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text-to-imag", "a cat"], 'there is no function "text-to-imag"; did you mean "text-to-image"?'),
        (["zzz", "a cat"], 'there is no function "zzz"; there are "text-to-image", "image-to-image", "voice"'),
        (["voice", "Good", "evening"], 'one prompt, please: quote it as a whole, like "Good evening"'),
        (["a=1", "a=2"], 'parameter "a" is given twice'),
        (["a cat", "prompt=a dog"], 'the prompt is given twice: as "a cat" and as prompt='),
    ],
)
def test_words_that_cannot_be_meant_are_refused_with_the_way_out(words: list[str], said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_arguments(words, KNOWN)
    assert str(refused.value) == said


def test_texts_become_the_types_of_the_schema() -> None:
    given = {
        "prompt": "42",
        "steps": "20",
        "guidance": "7.5",
        "seed": "null",
        "tiled": "true",
        "sizes": "[1, 2]",
        "sampler": "euler",
    }

    assert typed_params(function(), given) == {
        "prompt": "42",
        "steps": 20,
        "guidance": 7.5,
        "seed": None,
        "tiled": True,
        "sizes": [1, 2],
        "sampler": "euler",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stepz": "3"}, 'text-to-image has no parameter "stepz"; did you mean "steps" (1 to 500)?'),
        (
            {"guidence": "3"},
            'text-to-image has no parameter "guidence"; did you mean "guidance" (more than 0)?',
        ),
        (
            {"x": "3"},
            (
                'text-to-image has no parameter "x"; it takes "prompt", "steps", "guidance", "seed", "tiled", '
                '"sizes", "sampler"'
            ),
        ),
        ({"steps": "many"}, 'parameter "steps" takes a whole number (1 to 500), not "many"'),
        ({"steps": "1.5"}, 'parameter "steps" takes a whole number (1 to 500), not "1.5"'),
        ({"steps": "true"}, 'parameter "steps" takes a whole number (1 to 500), not "true"'),
        ({"guidance": "NaN"}, 'parameter "guidance" takes a number (more than 0), not "NaN"'),
        ({"seed": "x"}, 'parameter "seed" takes a whole number (at least 0), not "x"'),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_right(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        typed_params(function(), given)
    assert str(refused.value) == said


def test_a_schema_that_is_open_takes_any_parameter_as_json_or_text() -> None:
    entry = function(params_schema={"type": "object", "properties": {}})
    assert typed_params(entry, {"a": "1", "b": "one", "c": '{"d": null}'}) == {"a": 1, "b": "one", "c": {"d": None}}


def test_the_schema_is_that_of_the_named_or_the_first_ready_runner() -> None:
    cold, warm = function(runner="big", ready=False), function(runner="tiny")

    assert choose_function([cold, warm], "text-to-image") is warm
    assert choose_function([cold, warm], "text-to-image", runner="big") is cold
    assert choose_function([cold], "text-to-image") is cold
    assert choose_function([cold], "voice") is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("image=cat.png", ("image", LocalFile(Path("cat.png")))),
        ("image=s3://bucket/a=b.png", ("image", StoredFile("s3://bucket/a=b.png"))),
        ("voice=job:take-1/voice.wav", ("voice", JobOutput("take-1", "voice.wav"))),
        ("image=job:demo-1", ("image", JobOutput("demo-1", None))),
    ],
)
def test_an_input_is_a_file_an_upload_or_another_jobs_output(text: str, meant: Any) -> None:
    assert parse_input(text) == meant


@pytest.mark.parametrize("text", ["cat.png", "image=", "my image=cat.png"])
def test_an_input_without_a_name_or_a_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--input"):
        parse_input(text)


def test_a_functions_parameters_read_as_a_list() -> None:
    inputs = ({"name": "image", "media_type": "image/*", "description": "Where to start."},)
    assert describe_parameters(function(inputs=inputs)) == [
        "  prompt    string  required  What to draw.",
        "  steps     integer (1 to 500)",
        "  guidance  number (more than 0)",
        "  seed      integer or null (at least 0)",
        "  tiled     boolean",
        "  sizes     array",
        "  sampler   string (ddim, euler)",
        "  --input image=FILE  image/*  Where to start.",
    ]
