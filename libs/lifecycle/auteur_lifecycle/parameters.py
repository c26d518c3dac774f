"""A function's parameters against its JSON Schema: the sentence a person gets when one is wrong."""

import difflib
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.refusal import Refusal


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
    error = next(iter(sorted(Draft202012Validator(schema).iter_errors(dict(params)), key=_depth)), None)
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
    expected = _range(error.schema if isinstance(error.schema, Mapping) else {}).strip(" ()")
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


def _range(schema: Mapping[str, Any]) -> str:
    """What a parameter takes, in brackets: ` (1 to 500)`; empty when the schema says nothing short."""
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
    kinds = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
    return f" ({kinds[schema['type']]})" if schema.get("type") in kinds else ""
