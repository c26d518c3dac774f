"""What a class says by its types is what the catalogue gets; mistakes are sentences."""

import enum
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest

from auteur_contracts.resources import FunctionRunner, InputDeclaration, OutputDeclaration, TierDeclaration
from auteur_contracts.vocabulary import Quality
from auteur_runner import AuthoringError, Context, Field, Function, Input, Media, MediaType, Runner
from auteur_runner.describe import describe, same_setup
from auteur_runner.loading import load

Picture = Annotated[Media, MediaType("image/png")]


class Mix(Function):
    """Mixes two pictures."""

    name = "mix"
    example = {"share": 0.3}  # noqa: RUF012

    class Params(Function.Params):
        share: float = Field(0.5, ge=0, le=1, multiple_of=0.1, description="Of the second.")
        seed: int | None = None
        mode: str = Field("add", pattern="^(add|screen)$", max_length=8)

    class Inputs(Function.Inputs):
        first: Annotated[Input, MediaType("image/*")]
        second: Annotated[Input, MediaType("image/*")] | None = Field(None, description="Black when missing.")

    class Output(Function.Output):
        mixed: Picture
        parts: tuple[Picture, ...] = ()
        notes: Annotated[Media, MediaType("application/json")] | None = None

    def run(self, params: Params, inputs: Inputs, ctx: Context) -> Output:
        raise NotImplementedError


def test_types_become_declarations() -> None:
    declared = describe(Runner.of(Mix)).spec.functions[0]
    assert declared.description == "Mixes two pictures."
    assert declared.inputs == (
        InputDeclaration(name="first", media_type="image/*"),
        InputDeclaration(name="second", media_type="image/*", required=False, description="Black when missing."),
    )
    assert declared.outputs == (
        OutputDeclaration(name="mixed", media_type="image/png"),
        OutputDeclaration(name="parts", media_type="image/png"),
        OutputDeclaration(name="notes", media_type="application/json"),
    )
    assert declared.example == {"share": 0.3}


def test_the_schema_keeps_ranges_defaults_and_descriptions() -> None:
    schema = describe(Runner.of(Mix)).spec.functions[0].params_schema
    assert schema["additionalProperties"] is False
    share = schema["properties"]["share"]
    assert share == {
        "type": "number",
        "title": "Share",
        "default": 0.5,
        "minimum": 0,
        "maximum": 1,
        "multipleOf": 0.1,
        "description": "Of the second.",
    }
    assert schema["properties"]["mode"]["pattern"] == "^(add|screen)$"


def test_a_function_without_tiers_serves_all_four_qualities_without_a_gpu() -> None:
    assert describe(Runner.of(Mix)).spec.tiers == tuple(
        TierDeclaration(quality=quality, pipeline="mix") for quality in Quality
    )


def test_tiers_share_a_setup_when_only_the_quality_differs() -> None:
    draft, standard, *_ = (tier.planned for tier in Runner.of(Mix).tiers)
    other = standard.model_copy(update={"optimizations": ("tiling",)})
    assert same_setup(draft, standard)
    assert not same_setup(standard, other)
    assert not same_setup(None, draft)


def test_describe_prints_the_resource_and_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['auteur_runner', 'describe', 'tests/support/echo/__init__.py']\n"
        "from auteur_runner.__main__ import main\n"
        "assert main() == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'nats', 'minio', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = FunctionRunner.model_validate(json.loads(done.stdout))
    assert [function.name for function in printed.spec.functions] == ["echo"]
    assert printed.spec.functions[0].params_schema["properties"]["seed"]["default"] is None


def _echo(**changes: object) -> type[Function]:
    def run(self: Function, params: object, ctx: Context) -> object:
        raise NotImplementedError

    output = type("Output", (Function.Output,), {"__annotations__": {"text": Media}})
    return type("Wrong", (Function,), {"name": "wrong", "Output": output, "run": run, **changes})


def _with_output(annotation: object) -> type:
    return type("Output", (Function.Output,), {"__annotations__": {"text": annotation}, "__qualname__": "Wrong.Output"})


def _with_inputs(annotation: object) -> type:
    return type(
        "Inputs", (Function.Inputs,), {"__annotations__": {"image": annotation}, "__qualname__": "Wrong.Inputs"}
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "Not A Label"}, 'Wrong.name is a DNS label such as "text-to-image", not "Not A Label"'),
        ({"Output": Function.Output}, "Wrong.Output has no field"),
        ({"Output": _with_output(str)}, "Wrong.Output.text must be Media"),
        ({"run": lambda _: None}, r"Wrong.run must be run\(self, params, ctx\); see test_describe.py, line"),
        ({"example": {"nope": 1}}, "Wrong.example does not fit Wrong.Params"),
        ({"Inputs": _with_inputs(tuple[Input, ...])}, "Wrong.Inputs.image must be one file"),
        (
            {"Inputs": _with_inputs(list[Annotated[Input, MediaType("image/*")]] | None)},
            "Wrong.Inputs.image must be one file",
        ),
    ],
)
def test_a_wrong_declaration_is_a_sentence(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(AuthoringError, match=sentence):
        Runner.of(_echo(**changes))


@pytest.mark.parametrize(
    ("defaults", "sentence"),
    [
        ({"share": 1.5}, r'tier "draft" of runner "mix" does not fit Mix.Params: share=1.5: Input should be less than'),
        ({"share": "0.5"}, r"share='0.5': Input should be a valid number"),
        ({"mode": "multiply"}, r"mode='multiply': String should match pattern"),
        ({"shade": 0.5}, r'sets "shade", which no function of it takes; they take mode, seed, share'),
    ],
)
def test_a_tiers_default_that_would_fail_every_job_is_told_to_its_author(
    defaults: dict[str, object], sentence: str
) -> None:
    with pytest.raises(AuthoringError, match=sentence):
        Runner("mix", (Mix,), tiers=(TierDeclaration(quality=Quality.DRAFT, pipeline="p", defaults=defaults),))


def test_a_tiers_default_is_judged_without_what_a_request_brings() -> None:
    class Size(enum.StrEnum):
        SMALL = "small"

    class Framed(Mix):
        class Params(Function.Params):
            prompt: str
            size: Size = Size.SMALL
            sides: tuple[int, int] = (1, 1)

    defaults = {"size": "small", "sides": [2, 3], "mode": "add"}
    tier = TierDeclaration(quality=Quality.DRAFT, pipeline="p", defaults=defaults)
    framed = type("Other", (Framed,), {"name": "framed", "example": {}})
    assert Runner("mix", (Mix, framed), tiers=(tier,)).tiers == (tier,)


def test_a_missing_dependency_is_not_told_as_a_missing_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flipper_of_mine.py").write_text("import a_library_of_mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AuthoringError, match=r'flipper_of_mine imports "a_library_of_mine", which .* does not have'):
        load("flipper_of_mine:Flip")
    with pytest.raises(AuthoringError, match=r'there is no module "flipping.of_mine"'):
        load("flipping.of_mine:Flip")


def test_a_function_without_run_is_told_so() -> None:
    with pytest.raises(AuthoringError, match="has no run"):
        Runner.of(type("Lazy", (Function,), {"name": "lazy"}))
