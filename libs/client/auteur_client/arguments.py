"""What the words after `auteur create` mean: function, prompt, parameters, inputs. Pure; the server has the last word,
this says the common mistakes in a sentence before anything is sent."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auteur_contracts.errors import Code, InvalidRequest
from auteur_contracts.model import JsonObject
from auteur_contracts.web.http import FunctionReply

DEFAULT_FUNCTION = "text-to-image"
_ASSIGNMENT = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    """The positionals of `auteur create`, sorted."""

    function: str | None
    prompt: str | None
    params: Mapping[str, str]


@dataclass(frozen=True)
class LocalFile:
    path: Path


@dataclass(frozen=True)
class StoredFile:
    uri: str


@dataclass(frozen=True)
class JobOutput:
    job: str
    output: str | None


InputSource = LocalFile | StoredFile | JobOutput


def parse_arguments(words: Sequence[str], known_functions: Sequence[str]) -> Arguments:
    """The first word is the function where the catalogue has it; a text without `=` is the prompt; the rest are
    parameters. Two texts in a row mean that the first was meant as a function."""
    rest = list(words)
    function = rest.pop(0) if rest and rest[0] in known_functions else None
    params: dict[str, str] = {}
    texts: list[str] = []
    for word in rest:
        assigned = _ASSIGNMENT.match(word)
        if assigned is None:
            texts.append(word)
        elif assigned[1] in params:
            raise InvalidRequest(f'parameter "{assigned[1]}" is given twice', code=Code.INVALID_PARAMETER)
        else:
            params[assigned[1]] = assigned[2]
    if function is None and len(texts) > 1 and " " not in texts[0]:
        raise unknown_function(texts[0], known_functions)
    if len(texts) > 1:
        raise InvalidRequest(f"one prompt, please: quote it as a whole, like {json.dumps(' '.join(texts))}")
    if texts and "prompt" in params:
        raise InvalidRequest(f'the prompt is given twice: as "{texts[0]}" and as prompt=', code=Code.INVALID_PARAMETER)
    return Arguments(function, texts[0] if texts else None, params)


def unknown_function(name: str, known: Sequence[str]) -> InvalidRequest:
    guess = _closest(name, known)
    return InvalidRequest(
        f'there is no function "{name}"' + (f'; did you mean "{guess}"?' if guess else f"; there are {_listed(known)}"),
        code=Code.UNKNOWN_FUNCTION,
    )


def choose_function(catalogue: Sequence[FunctionReply], name: str, runner: str | None = None) -> FunctionReply | None:
    """The entry whose schema to check against: the named runner's, else the first ready one's. None: the server
    checks."""
    serving = [entry for entry in catalogue if entry.name == name and runner in (None, entry.runner)]
    return next((entry for entry in serving if entry.ready), serving[0] if serving else None)


def typed_params(function: FunctionReply, given: Mapping[str, str]) -> JsonObject:
    """Texts of the command line as the values that the function's schema asks for."""
    properties = _properties(function.params_schema)
    for name in given:
        if name not in properties and not _is_open(function.params_schema):
            raise _unknown_parameter(function.name, name, properties)
    return {name: typed_value(name, text, properties.get(name, {})) for name, text in given.items()}


def typed_value(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    """The first of the schema's types that the text can be read as."""
    types = _types(schema)
    if not types:
        return _guessed(text)
    for kind in sorted(types, key=_READING_ORDER.index):
        read, value = _read_as(kind, text)
        if read:
            return value
    what = " or ".join(_TYPE_WORDS[kind] for kind in types if kind != "null")
    raise InvalidRequest(
        f'parameter "{name}" takes {what}{_bounds_text(schema)}, not {json.dumps(text)}', code=Code.INVALID_PARAMETER
    )


def parse_input(text: str) -> tuple[str, InputSource]:
    """`name=path`, `name=s3://…` or `name=job:NAME[/FILE]`."""
    assigned = _ASSIGNMENT.match(text)
    if assigned is None or not assigned[2]:
        raise InvalidRequest(
            f'--input "{text}" is not of the form name=path, name=s3://… or name=job:NAME/FILE', code=Code.INVALID_INPUT
        )
    name, source = assigned[1], assigned[2]
    if source.startswith("s3://"):
        return name, StoredFile(source)
    if source.startswith("job:"):
        job, _, output = source.removeprefix("job:").partition("/")
        return name, JobOutput(job, output or None)
    return name, LocalFile(Path(source).expanduser())


def describe_parameters(function: FunctionReply) -> list[str]:
    """What a function takes: a line for each parameter, and one for each input."""
    required = function.params_schema.get("required", ())
    described = [
        (name, " or ".join(_types(schema)) + _bounds_text(schema), "required" if name in required else "", schema)
        for name, schema in _properties(function.params_schema).items()
    ]
    width = max((len(name) for name, *_ in described), default=0)
    lines = [
        "  ".join(part for part in (f"  {name:<{width}}", what, must, str(schema.get("description", ""))) if part)
        for name, what, must, schema in described
    ]
    lines += [f"  --input {one.name}=FILE  {one.media_type}  {one.description}".rstrip() for one in function.inputs]
    return lines


def _parameter_hint(name: str, schema: Mapping[str, Any]) -> str:
    return f'"{name}"{_bounds_text(schema)}'


# Reading a JSON Schema, as far as the command line needs it

_READING_ORDER = ("null", "boolean", "integer", "number", "array", "object", "string")
_TYPE_WORDS = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a JSON list",
    "object": "a JSON object",
    "string": "a text",
    "null": "null",
}


def _properties(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = schema.get("properties")
    if not isinstance(found, dict):
        return {}
    return {name: _dereferenced(schema, entry) for name, entry in found.items() if isinstance(entry, dict)}


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Whether parameters that the schema does not name are allowed."""
    return schema.get("additionalProperties") is not False


def _dereferenced(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """One local `$ref` followed: what pydantic writes for enums."""
    reference = schema.get("$ref")
    definitions = root.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        target = definitions.get(reference.removeprefix("#/$defs/"))
        if isinstance(target, dict):
            return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kinds: list[Any] = []
    for option in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        kind = option.get("type") if isinstance(option, Mapping) else None
        kinds += kind if isinstance(kind, list) else [kind]
    return tuple(dict.fromkeys(kind for kind in kinds if kind in _TYPE_WORDS))


def _read_as(kind: str, text: str) -> tuple[bool, Any]:
    """(whether it can be, the value)."""
    if kind == "string":
        return True, text
    value = _guessed(text)
    fits = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    return fits[kind], value


def _guessed(text: str) -> Any:
    """What the text is as JSON; itself where it is none (NaN and Infinity are none)."""
    try:
        return json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return text


def _bounds_text(schema: Mapping[str, Any]) -> str:
    """` (1 to 500)`, or nothing where the schema sets no bounds."""
    choices = schema.get("enum")
    if isinstance(choices, list):
        return f" ({', '.join(str(choice) for choice in choices)})"
    options = [option for option in (schema, *schema.get("anyOf", ())) if isinstance(option, Mapping)]
    found = {word: option[word] for option in options for word in _BOUND_WORDS if word in option}
    if "minimum" in found and "maximum" in found:
        return f" ({found['minimum']} to {found['maximum']})"
    said = " and ".join(f"{_BOUND_WORDS[word]} {bound}" for word, bound in found.items())
    return f" ({said})" if said else ""


_BOUND_WORDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def _unknown_parameter(function: str, name: str, properties: Mapping[str, Mapping[str, Any]]) -> InvalidRequest:
    guess = _closest(name, list(properties))
    tip = (
        f"did you mean {_parameter_hint(guess, properties[guess])}?"
        if guess
        else f"it takes {_listed([*properties]) or 'none'}"
    )
    return InvalidRequest(f'{function} has no parameter "{name}"; {tip}', code=Code.INVALID_PARAMETER)


def _closest(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names))
