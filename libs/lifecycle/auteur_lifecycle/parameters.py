"""A function's parameters against its JSON Schema: the sentence a person gets when one is wrong."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry

from auteur_contracts.resources import FunctionRunner
from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.refusal import Refusal

_ELSEWHERE: Registry[Any] = Registry()
"""Empty: a schema that refers to an address must not make anybody fetch it."""


def check_schemas(runner: FunctionRunner) -> str | None:
    """Why a runner's parameters cannot be checked: the first thing wrong with a function's schema, or None."""
    for function in runner.spec.functions:
        schema = function.params_schema
        if schema.get("type", "object") != "object":
            return f'{function.name}: the schema of its parameters must have type "object"'
        try:
            Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        except SchemaError as error:
            where = ".".join(str(part) for part in error.absolute_path)
            return f"{function.name}: its parameters are no JSON Schema 2020-12: {where}: {error.message[:200]}"
        for reference in _references(schema):
            if not _resolves(schema, reference):
                shown = _short(repr(reference))
                return f"{function.name}: its parameters refer to {shown}, which the schema does not define"
    return None


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _resolves(schema: Mapping[str, Any], reference: str) -> bool:
    """Whether a JSON pointer (RFC 6901) leads somewhere inside the schema."""
    if reference != "#" and not reference.startswith("#/"):
        return False
    part: Any = schema
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(part, Mapping) or name not in part:
            return False
        part = part[name]
    return True


def check_parameters(function: str, schema: Mapping[str, Any], params: Mapping[str, Any]) -> Refusal | None:
    """The first thing wrong with `params`, or None. Unknown names come first: they explain missing ones."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    for name in params:
        if name not in properties and schema.get("additionalProperties", False) is False:
            return _unknown(function, name, properties)
    for name in schema.get("required", ()):
        if name not in params:
            return Refusal(
                Reason.INVALID_PARAMETER,
                f'{function} needs the parameter "{name}"{_range(properties.get(name, {}))}.',
                f"params.{name}",
            )
    validator = Draft202012Validator(schema, registry=_ELSEWHERE)
    error = min(validator.iter_errors(dict(params)), key=_depth, default=None)
    return None if error is None else _wrong(function, error)


def _depth(error: ValidationError) -> tuple[int, str]:
    return len(error.absolute_path), str(list(error.absolute_path))


def _unknown(function: str, name: str, properties: Mapping[str, Any]) -> Refusal:
    near = difflib.get_close_matches(name, properties, n=1)
    name = _short(name)
    hint = f'; did you mean "{near[0]}"{_range(properties[near[0]])}?' if near else f"; it has {_names(properties)}."
    return Refusal(Reason.INVALID_PARAMETER, f'{function} has no parameter "{name}"{hint}', f"params.{name}")


def _names(properties: Mapping[str, Any]) -> str:
    return ", ".join(sorted(properties)) or "none"


def _wrong(function: str, error: ValidationError) -> Refusal:
    path = ".".join(str(part) for part in error.absolute_path)
    shown = _short(repr(error.instance))
    expected = _range(error.schema).strip(" ()")
    wants = f"; it takes {expected}" if expected else ""
    what = error.message if error.validator not in _RANGED else f"{shown} is not allowed"
    return Refusal(
        Reason.INVALID_PARAMETER,
        f'{function}: parameter "{path}": {what if len(what) < 200 else shown}{wants}.',
        f"params.{path}",
    )


def _short(text: str) -> str:
    return f"{text[:60]}…" if len(text) > 61 else text


_RANGED = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "type",
    "enum",
    "minLength",
    "maxLength",
    "anyOf",
)


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def _range(schema: Any) -> str:
    """What a parameter takes, in brackets: ` (1 to 500)`; empty when the schema says nothing short."""
    if not isinstance(schema, Mapping):  # `true` is a schema too
        return ""
    if "anyOf" in schema:
        return next((text for option in schema["anyOf"] if (text := _range(option))), "")
    if "enum" in schema:
        return f" (one of {', '.join(str(value) for value in schema['enum'])})"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f" ({low} to {high})"
    if low is not None:
        return f" (at least {low})"
    if high is not None:
        return f" (at most {high})"
    if "maxLength" in schema:
        return f" (up to {schema['maxLength']} characters)"
    kinds = schema.get("type", ())
    said = [_KINDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind in _KINDS]
    return f" ({' or '.join(said)})" if said else ""
