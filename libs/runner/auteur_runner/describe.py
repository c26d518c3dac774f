"""A Runner as the resource that the catalogue, the API and the page read. Needs no model and no torch."""

import inspect

from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from auteur_contracts.resources import (
    FunctionDeclaration,
    FunctionRunner,
    FunctionRunnerSpec,
    InputDeclaration,
    ObjectMeta,
    OutputDeclaration,
    Tier,
)
from auteur_runner.errors import AuthoringError
from auteur_runner.function import Function, Runner, files_of
from auteur_runner.media import Input, Media


def describe(runner: Runner) -> FunctionRunner:
    """Raises AuthoringError where a declaration cannot be told to others."""
    try:
        return _describe(runner)
    except (ValidationError, PydanticInvalidForJsonSchema) as error:
        raise AuthoringError(f'runner "{runner.name}" cannot be described: {error}') from error


def _describe(runner: Runner) -> FunctionRunner:
    return FunctionRunner(
        metadata=ObjectMeta(name=runner.name),
        spec=FunctionRunnerSpec(
            functions=tuple(_function(function) for function in runner.functions),
            tiers=runner.tiers,
            workers=runner.workers,
            setup_timeout=runner.setup_timeout,
        ),
    )


def same_setup(one: Tier | None, other: Tier) -> bool:
    """Whether a process that was set up for the one can run the other as it is."""
    return one is not None and _setup_key(one) == _setup_key(other)


def _setup_key(tier: Tier) -> tuple[str, float, tuple[str, ...], int]:
    return tier.pipeline, tier.vram_gigabytes, tier.optimizations, tier.threads


def _function(function: type[Function]) -> FunctionDeclaration:
    inputs = function.Inputs.model_fields
    return FunctionDeclaration(
        name=function.name,
        description=(function.description or _own_doc(function))[:1024],
        params_schema=function.Params.model_json_schema(),
        inputs=tuple(
            InputDeclaration(
                name=name,
                media_type=pattern,
                required=inputs[name].is_required(),
                description=inputs[name].description or "",
            )
            for name, pattern in files_of(function.Inputs, Input).items()
        ),
        outputs=tuple(
            OutputDeclaration(name=name, media_type=pattern)
            for name, pattern in files_of(function.Output, Media).items()
        ),
        example=dict(function.example),
    )


def _own_doc(function: type[Function]) -> str:
    """The class's docstring, not an inherited one."""
    own = function.__dict__.get("__doc__")
    return inspect.cleandoc(own) if own else ""
