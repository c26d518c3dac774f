"""The two kinds of model on the wire: camelCase JSON, immutable, and different in how they meet the unknown."""

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel


class Asked(BaseModel):
    """What a person wrote: an unknown field is a mistake worth telling them about."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Told(BaseModel):
    """What a program of ours said, perhaps a newer one: fields we do not know are skipped, so versions can differ."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


MAX_DEPTH = 16
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _finite_json(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool():
            return value
        case int() | float():
            return _sound(value)
        case str():
            return _storable(value)
        case list():
            return [_finite_json(item, depth + 1) for item in value]
        case dict():
            if any(not isinstance(key, str) for key in value):
                raise ValueError("object keys must be strings")
            return {_storable(key): _finite_json(item, depth + 1) for key, item in value.items()}
        case _:
            raise ValueError(f"{type(value).__name__} is not a JSON value")


def _sound(number: float) -> float:
    if isinstance(number, int):
        if not -(2**63) <= number < 2**64:
            raise ValueError("a whole number must fit into 64 bits")
    elif not math.isfinite(number):
        raise ValueError("NaN and Infinity are not JSON numbers")
    return number


def _storable(text: str) -> str:
    """JSON can spell text that UTF-8 (lone surrogates) or PostgreSQL (NUL) cannot hold."""
    if _UNSTORABLE.search(text):
        raise ValueError("text must not contain NUL or unpaired surrogates")
    return text


JsonObject = Annotated[
    dict[str, Any],
    AfterValidator(_finite_json),
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""A JSON object whose shape somebody else's schema decides (a function's parameters, a JSON Schema)."""
