"""What words on the command line mean for a function's parameters."""

from typing import Any

import pytest

from auteur_contracts.resources import TierDeclaration
from auteur_contracts.vocabulary import Quality
from auteur_runner import Field, Function, InvalidRequest, Media, Runner
from auteur_runner.describe import describe
from auteur_runner.local_run import choose_function, choose_params, choose_tier, seed_of
from tests.support.echo import Echo, Fail


class Draw(Function):
    name = "draw"

    class Params(Function.Params):
        prompt: str
        steps: int = Field(20, ge=1)
        sizes: list[int] = Field(default_factory=list)
        clip: bool = False
        label: str | None = None
        fail: Fail = Fail.NONE
        seed: int | None = None

    class Output(Function.Output):
        picture: Media

    def run(self, params: Params, ctx: object) -> Output:
        raise NotImplementedError


TIERS = (TierDeclaration(quality=Quality.DRAFT, pipeline="p", defaults={"steps": 10, "lines": 3}),)
RUNNER = describe(Runner("studio", (Draw, Echo), tiers=TIERS))


def params(*words: str) -> dict[str, Any]:
    return choose_params(RUNNER, choose_function(RUNNER, "draw"), Quality.DRAFT, words, seed=9)


def test_the_tiers_defaults_and_the_seed_are_filled_in() -> None:
    assert params("prompt=a star") == {"prompt": "a star", "steps": 10, "seed": 9}


def test_words_become_what_the_schema_wants() -> None:
    given = params("prompt=12", "steps=3", "sizes=[1, 2]", "clip=true", "label=7", "fail=oom", "seed=4")
    assert given == {
        "prompt": "12",
        "steps": 3,
        "sizes": [1, 2],
        "clip": True,
        "label": "7",
        "seed": 4,
        "fail": "oom",
    }


@pytest.mark.parametrize(
    ("given", "seed"), [({"seed": 7}, 7), ({"seed": 0}, 0), ({}, 9), ({"seed": None}, 9), ({"seed": "x"}, 9)]
)
def test_a_seed_among_the_parameters_is_the_runs_seed(given: dict[str, Any], seed: int) -> None:
    assert seed_of(given, 9) == seed


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("stepz=3", 'draw has no parameter "stepz"; did you mean "steps"?'),
        ("steps", 'write a parameter as name=value, not "steps"'),
    ],
)
def test_a_wrong_word_is_a_sentence(word: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence.replace("?", r"\?")):
        params(word)


def test_several_functions_ask_for_a_name_and_a_quality_must_be_offered() -> None:
    with pytest.raises(InvalidRequest, match="name one with --function: draw, echo"):
        choose_function(RUNNER, "")
    with pytest.raises(InvalidRequest, match='studio does not offer quality "ultra"; it offers draft'):
        choose_tier(RUNNER, Quality.ULTRA)
