"""What of a JSON Schema cannot become a structural schema of a CustomResourceDefinition (KEP-2335).

Judges the schema as it is after the usual rewriting: references inlined, `X | null` read as an optional X, `const` as
an enum of one, exclusive bounds as booleans, titles dropped. A test holds our resources to it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"

_DROPPED = {"$defs", "title", "examples", "deprecated", "readOnly", "writeOnly"}
_REWRITTEN = {"$ref", "anyOf", "const", "prefixItems", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems"}
_KEPT = {
    "type",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "default",
    "description",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
}
_KNOWN = _DROPPED | _REWRITTEN | _KEPT
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_NOT_IN_RE2 = re.compile(r"\(\?(=|!|<[=!])|\\[1-9]")
_NULL = {"type": "null"}


def structural_violations(schema: Mapping[str, Any]) -> list[str]:
    """Every construct of a resource's schema (pydantic's, mode "validation", by alias) that a CRD cannot express, as
    `path: sentence`. The API server checks `metadata` itself, so its schema is not looked at.
    """
    root = _Place(schema.get("$defs", {}), "", ())
    if schema.get("type") != "object" or "properties" not in schema:
        return ["(root): a resource is an object with properties"]
    found: list[str] = []
    for name, child in schema["properties"].items():
        if name != "metadata":
            found += _violations(child, root.at(name))
    return found


@dataclass(frozen=True)
class _Place:
    definitions: Mapping[str, Any]
    path: str
    inside: tuple[str, ...]
    """The references that were followed to here."""

    def at(self, part: str) -> "_Place":
        return replace(self, path=f"{self.path}.{part}".lstrip("."))

    def within(self, reference: str) -> "_Place":
        return replace(self, inside=(*self.inside, reference))

    def says(self, sentence: str) -> str:
        return f"{self.path}: {sentence}"


def _violations(schema: Any, place: _Place) -> Iterator[str]:
    if not isinstance(schema, Mapping) or not schema:
        yield place.says("any value is allowed here; give it a type, or preserve unknown fields of an object")
    elif "$ref" in schema:
        yield from _referenced(schema, place)
    elif schema.get(INT_OR_STRING):
        return
    elif "anyOf" in schema:
        yield from _optional(schema, place)
    else:
        yield from _plain(schema, place)


def _referenced(schema: Mapping[str, Any], place: _Place) -> Iterator[str]:
    reference = str(schema["$ref"]).removeprefix("#/$defs/")
    if reference in place.inside:
        yield place.says(f"{reference} contains itself")
    elif reference not in place.definitions:
        yield place.says(f"refers to {schema['$ref']}, which is not in $defs")
    else:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        yield from _violations({**place.definitions[reference], **beside}, place.within(reference))


def _optional(schema: Mapping[str, Any], place: _Place) -> Iterator[str]:
    options = [option for option in schema["anyOf"] if option != _NULL]
    if len(options) != 1:
        yield place.says(f"a union of {len(options)} schemas; use one object with optional members")
        return
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(options) < len(schema["anyOf"]) and beside.get("default", ...) is None:
        del beside["default"]  # optional in a CRD is: not required, no default
    yield from _violations({**options[0], **beside}, place)


def _plain(schema: Mapping[str, Any], place: _Place) -> Iterator[str]:
    for keyword in schema:
        if keyword not in _KNOWN and not keyword.startswith("x-kubernetes-"):
            yield place.says(f"the keyword {keyword} has no counterpart")
    match schema.get("type"):
        case "object":
            yield from _object(schema, place)
        case "array":
            yield from _array(schema, place)
        case "string" | "integer" | "number" | "boolean":
            yield from _scalar(schema, place)
        case None:
            if not schema.get(PRESERVE):
                yield place.says("has no type")
        case other:
            yield place.says(f"its type is {other!r}; a CRD knows single types only, and not null")
    if "default" in schema and (why := _misfit(schema["default"], schema)):
        yield place.says(f"its default {schema['default']!r} {why}, so the API server refuses the schema")


def _object(schema: Mapping[str, Any], place: _Place) -> Iterator[str]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", False)
    if properties and others is not False:
        yield place.says("has both properties and additionalProperties")
    if not properties and others is False and not schema.get(PRESERVE):
        yield place.says("an object without properties keeps nothing; preserve unknown fields, or name them")
    for name, child in properties.items():
        yield from _violations(child, place.at(name))
    if others is not False:
        yield from _violations(others, place.at("*"))


def _array(schema: Mapping[str, Any], place: _Place) -> Iterator[str]:
    prefix = schema.get("prefixItems", [])
    if any(item != prefix[0] for item in prefix):
        yield place.says("a tuple of different schemas; use an object with named members")
        return
    items = prefix[0] if prefix else schema.get("items")
    if schema.get("uniqueItems") and isinstance(items, Mapping) and ("$ref" in items or items.get("type") == "object"):
        yield place.says("a set of objects; a CRD compares scalars only")
    yield from _violations(items, place.at("[]"))


def _scalar(schema: Mapping[str, Any], place: _Place) -> Iterator[str]:
    if _NOT_IN_RE2.search(schema.get("pattern", "")):
        yield place.says("its pattern looks ahead, behind or back, which RE2 does not know")


def _misfit(value: Any, schema: Mapping[str, Any]) -> str:
    """How a default breaks its own schema; empty when it does not. One level deep: ours are scalars and empty lists."""
    kinds = _PYTHON_TYPES.get(str(schema.get("type")), ())
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return f"is not of type {schema.get('type')}"
    if allowed is not None and value not in allowed:
        return "is not one of its values"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return "does not match its pattern"
    return ""
