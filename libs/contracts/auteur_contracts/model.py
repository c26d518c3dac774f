"""The two kinds of model on the wire: camelCase JSON, immutable, and different in how they meet the unknown."""

import math
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


def _finite_json(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError("NaN and Infinity are not JSON numbers")
            return value
        case list():
            return [_finite_json(item, depth + 1) for item in value]
        case dict():
            if any(not isinstance(key, str) for key in value):
                raise ValueError("object keys must be strings")
            return {key: _finite_json(item, depth + 1) for key, item in value.items()}
        case _:
            raise ValueError(f"{type(value).__name__} is not a JSON value")


JsonObject = Annotated[
    dict[str, Any],
    AfterValidator(_finite_json),
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""A JSON object whose shape somebody else's schema decides (a function's parameters, a JSON Schema)."""
