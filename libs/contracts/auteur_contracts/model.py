"""The kinds of model on the wire: camelCase JSON, immutable, and different in how they meet the unknown."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, core_schema

from auteur_contracts.documented import Documented


class StrictModel(Documented):
    """What a person wrote: an unknown field is a mistake worth telling them about."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )


class TolerantModel(Documented):
    """What a program of ours said, perhaps a newer one: fields we do not know are skipped, so versions can differ."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )


class KeptModel(TolerantModel):
    """What a program of ours wrote into something that others of ours write too: fields we do not know stay in it."""

    model_config = ConfigDict(extra="allow", json_schema_extra=lambda schema: schema.pop("additionalProperties", None))


STORED = "stored"
"""As `context`: what is read was taken before, perhaps by a newer version."""


class AskedModel(StrictModel):
    """What a person wrote and we store. Read as STORED it keeps the fields that we do not know."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})

    @model_validator(mode="after")
    def _only_what_is_known(self, info: ValidationInfo) -> Self:
        if self.model_extra and info.context != STORED:
            wrong = [
                InitErrorDetails(type="extra_forbidden", loc=(name,), input=value)
                for name, value in self.model_extra.items()
            ]
            raise ValidationError.from_exception_data(type(self).__name__, wrong)
        return self

    def unknown_fields(self) -> Iterator[str]:
        """Their paths: `inputs.0.mask`."""
        yield from self.model_extra or ()
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            parts = enumerate(value) if isinstance(value, tuple) else [("", value)]
            for number, part in parts:
                if isinstance(part, AskedModel):
                    place = f"{field.alias}.{number}".rstrip(".")
                    yield from (f"{place}.{inner}" for inner in part.unknown_fields())


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


@dataclass(frozen=True)
class JsonSize:
    """Bounds a free JSON object: how many bytes of JSON, and how many members at its top. An API server can be told the
    second only, and stores no object beyond 1.5 MB.
    """

    bytes: int
    members: int = 256

    def __call__(self, value: dict[str, Any]) -> dict[str, Any]:
        if len(value) > self.members:
            raise ValueError(f"it has {len(value)} members and may have {self.members}")
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        if size > self.bytes:
            raise ValueError(f"it has {size} bytes as JSON and may have {self.bytes}: large data belongs into files")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "maxProperties": self.members}


Params = Annotated[JsonObject, JsonSize(128 * 1024)]
"""What a job asks of a function. A copy of it lies in the status, with the rest of the plan."""
TierDefaults = Annotated[JsonObject, JsonSize(16 * 1024, members=128)]
JsonSchemaObject = Annotated[JsonObject, JsonSize(256 * 1024)]
