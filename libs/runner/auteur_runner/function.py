"""What an author subclasses: Function, and Runner where several functions live in one process."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from auteur_contracts.quantities import JobName, Label
from auteur_contracts.resources import SETUP_TIMEOUT, TierDeclaration
from auteur_contracts.vocabulary import Quality
from auteur_runner.context import SetupContext
from auteur_runner.errors import AuthoringError
from auteur_runner.media import Input, Media, MediaType


class Params(BaseModel):
    """Parameters of a request: an unknown one is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class _Files(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


_BaseParams = Params


class Function:
    """A kind of work. Subclass it, name it, and say what it takes and makes by types.

    >>> class Shout(Function):
    ...     name = "shout"
    ...
    ...     class Params(Function.Params):
    ...         text: str
    ...
    ...     class Output(Function.Output):
    ...         words: Media["text/plain"]
    ...
    ...     def run(self, params: Params, ctx: "Context") -> Output:
    ...         return self.Output(words=ctx.save(params.text.upper().encode(), "words.txt"))
    """

    class Params(_BaseParams):
        """Parameters of a request: an unknown one is refused by name."""

    class Inputs(_Files):
        """Files a request brings: `image: Input["image/*"]`, optional as `Input["image/*"] | None = None`."""

    class Output(_Files):
        """Files a run makes: `image: Media["image/png"]`, several as `tuple[Media["image/png"], ...]`."""

    name: ClassVar[str] = ""
    """A DNS label, as people write it: `text-to-image`."""
    description: ClassVar[str] = ""
    example: ClassVar[Mapping[str, Any]] = {}
    """Parameters that work."""
    tiers: ClassVar[Sequence[TierDeclaration]] = ()
    """What each quality means. Empty: all four, without a GPU. A function inside a Runner takes the Runner's."""
    workers: ClassVar[int] = 1
    """How many processes serve the runner on one machine."""
    setup_timeout: ClassVar[timedelta] = SETUP_TIMEOUT
    """How long making a process ready may take: `setup`, with all it loads."""

    shared: Any = None
    """What the Runner's `setup` returned."""

    run: Callable[..., Any]
    """`run(self, params, ctx)`, or `run(self, params, inputs, ctx)` where there are inputs."""

    def setup(self, ctx: SetupContext) -> None:
        """Load what every run needs. Import heavy libraries here, not at the top of the module."""


class Runner:
    """Several functions served by one process, one job at a time.

    `setup` is called before the functions' own and what it returns is their `shared`: a pipeline loaded once.
    """

    def __init__(
        self,
        name: str,
        functions: Sequence[type[Function]],
        *,
        tiers: Sequence[TierDeclaration] = (),
        workers: int = 1,
        setup_timeout: timedelta = SETUP_TIMEOUT,
        setup: Callable[[SetupContext], Any] | None = None,
    ) -> None:
        self.name = name
        self.functions = tuple(functions)
        self.tiers = tuple(tiers) or _default_tiers(name)
        self.workers = workers
        self.setup_timeout = setup_timeout
        self.setup = setup
        _check_runner(self)

    @classmethod
    def of(cls, function: type[Function]) -> "Runner":
        """The runner of a single function: it has the function's name."""
        return cls(
            function.name,
            (function,),
            tiers=function.tiers,
            workers=function.workers,
            setup_timeout=function.setup_timeout,
        )

    def function(self, name: str) -> type[Function] | None:
        return next((function for function in self.functions if function.name == name), None)


def files_of(model: type[BaseModel], kind: type[Input | Media]) -> dict[str, str]:
    """Field → media type pattern, of an Inputs or Output class."""
    found = {}
    for name, field in model.model_fields.items():
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        pattern = _pattern(annotation, kind)
        if pattern is None:
            raise AuthoringError(
                f'{model.__qualname__}.{name} must be {kind.__name__}["type/subtype"], not {field.annotation}'
            )
        found[name] = pattern
    return found


def takes_inputs(function: type[Function]) -> bool:
    return "inputs" in inspect.signature(function.run).parameters


def source_line(function: type[Function]) -> str:
    """Where `run` stands, for sentences about it."""
    code = getattr(function.run, "__code__", None)
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}" if code else function.__qualname__


def _pattern(annotation: Any, kind: type[Input | Media]) -> str | None:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extras = get_args(annotation)
        own = next((extra.pattern for extra in extras if isinstance(extra, MediaType)), None)
        return own if own and inner is kind else _pattern(inner, kind)
    if origin in (Union, UnionType, tuple, list):
        return next((found for part in get_args(annotation) if (found := _pattern(part, kind))), None)
    return "*/*" if annotation is kind else None


def _holds_many(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, list) or any(_holds_many(part) for part in get_args(annotation))


def _default_tiers(name: str) -> tuple[TierDeclaration, ...]:
    return tuple(TierDeclaration(quality=quality, pipeline=name) for quality in Quality)


def _check_runner(runner: Runner) -> None:
    """Mistakes of declaration are told where the runner is made, not when the first job arrives."""
    if not runner.functions:
        raise AuthoringError(f'runner "{runner.name}" serves no function')
    for function in runner.functions:
        _check_function(function)
    names = [function.name for function in runner.functions]
    if len(set(names)) < len(names):
        raise AuthoringError(f'runner "{runner.name}" has two functions of the same name: {", ".join(names)}')
    if not _is_a(JobName, runner.name):
        raise AuthoringError(f'a runner\'s name is a DNS label of at most 50 characters, not "{runner.name}"')
    qualities = [tier.quality for tier in runner.tiers]
    if len(set(qualities)) < len(qualities):
        raise AuthoringError(f'runner "{runner.name}" declares a quality twice: {", ".join(qualities)}')
    for tier in runner.tiers:
        _check_defaults(runner, tier)


def _check_defaults(runner: Runner, tier: TierDeclaration) -> None:
    """A default that does not fit would be told to every user as a mistake of theirs."""
    place = f'tier "{tier.quality}" of runner "{runner.name}"'
    known = {name for function in runner.functions for name in _parameters(function)}
    if strange := sorted(tier.defaults.keys() - known):
        names = ", ".join(sorted(known)) or "none"
        raise AuthoringError(f'{place} sets "{strange[0]}", which no function of it takes; they take {names}')
    for function in runner.functions:
        if wrong := _misfit(function, tier.defaults):
            raise AuthoringError(f"{place} does not fit {function.__qualname__}.Params: {wrong}")


def _parameters(function: type[Function]) -> set[str]:
    return {field.alias or name for name, field in function.Params.model_fields.items()}


def _misfit(function: type[Function], defaults: Mapping[str, Any]) -> str:
    """What is wrong with the first of the defaults that the function takes; empty where all are right. Strict, as the
    catalogue's JSON Schema is: "20" is no number there.
    """
    taken = {name: value for name, value in defaults.items() if name in _parameters(function)}
    try:
        function.Params.model_validate_json(json.dumps(taken), strict=True)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            # What a request has to bring is missing here, and rules that span fields cannot be judged without it.
            if each["type"] != "missing" and each["loc"] and each["loc"][0] in taken:
                return f"{'.'.join(map(str, each['loc']))}={each['input']!r}: {each['msg']}"
    return ""


def _check_function(function: type[Function]) -> None:
    title = function.__qualname__
    if not _is_a(Label, function.name):
        raise AuthoringError(f'{title}.name is a DNS label such as "text-to-image", not "{function.name}"')
    run = getattr(function, "run", None)
    if run is None:
        raise AuthoringError(f"{title} has no run(self, params, ctx)")
    inputs = files_of(function.Inputs, Input)
    for name, field in function.Inputs.model_fields.items():
        if _holds_many(field.annotation):
            raise AuthoringError(f"{title}.Inputs.{name} must be one file: a job gives one to each input")
    if not files_of(function.Output, Media):
        raise AuthoringError(f'{title}.Output has no field: say what it makes, as in image: Media["image/png"]')
    wanted = {"self", "params", "ctx"} | ({"inputs"} if inputs else set())
    found = set(inspect.signature(run).parameters)
    if not wanted <= found or found - wanted - {"inputs"}:
        asked = ", ".join(part for part in ("self", "params", "inputs", "ctx") if part in wanted)
        raise AuthoringError(f"{title}.run must be run({asked}); see {source_line(function)}")
    try:
        function.Params.model_validate(dict(function.example)) if function.example else None
    except ValidationError as error:
        raise AuthoringError(f"{title}.example does not fit {title}.Params: {error}") from error


def _is_a(kind: Any, value: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True
