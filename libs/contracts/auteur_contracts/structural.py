"""From pydantic's JSON Schema to the structural schema of a CustomResourceDefinition (KEP-2335): the one place that
knows what is rewritten, and what cannot be.

References are inlined, `X | null` becomes an optional X, `const` an enum of one, exclusive bounds booleans, sets list
types, free JSON objects maps of anything; titles go. Names, keys and rules of our resources are added in `crds`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"

Schema = dict[str, Any]

_DROPPED = {"$defs", "title", "examples", "deprecated", "readOnly", "writeOnly"}
_KEPT = {
    "type",
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
_PAST_INTEGERS = 2**63
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_WALKED = {"properties", "required", "items", "additionalProperties", "prefixItems", "uniqueItems", "const"}
_KNOWN = _DROPPED | _KEPT | _WALKED | set(_BOUNDS)
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
ANYTHING: Schema = {PRESERVE: True, "nullable": True}
"""A value of any type. As what a map holds, and not as `type: object` with unknown fields preserved: CEL compares those
wrongly, `{a: 1} == {b: 2}` is true (Kubernetes 1.36), and an immutable field could be exchanged for another."""


@dataclass(frozen=True)
class Rewritten:
    schema: Schema
    violations: tuple[str, ...]
    """Every construct that a CRD cannot express, as `path: sentence`. `schema` is of use only when there are none."""


def structural(schema: Mapping[str, Any]) -> Rewritten:
    """Of a resource's schema as pydantic writes it, by alias. `metadata` is left out: the API server has its own."""
    if schema.get("type") != "object" or "properties" not in schema:
        return Rewritten({}, ("(root): a resource is an object with properties",))
    without = {name: child for name, child in schema["properties"].items() if name != "metadata"}
    required = [name for name in schema.get("required", ()) if name != "metadata"]
    found: list[str] = []
    root = _Place(schema.get("$defs", {}), found)
    return Rewritten(_object({**schema, "properties": without, "required": required}, root), tuple(found))


@dataclass(frozen=True)
class _Place:
    definitions: Mapping[str, Any]
    found: list[str]
    """The violations, of the whole walk."""
    path: str = ""
    inside: tuple[str, ...] = field(default=())
    """The references that were followed to here."""

    def at(self, part: str) -> "_Place":
        return replace(self, path=f"{self.path}.{part}".lstrip("."))

    def within(self, reference: str) -> "_Place":
        return replace(self, inside=(*self.inside, reference))

    def says(self, sentence: str) -> Schema:
        self.found.append(f"{self.path}: {sentence}")
        return {}


def _rewritten(schema: Any, place: _Place) -> Schema:
    if not isinstance(schema, Mapping) or not schema:
        return place.says("any value is allowed here; give it a type, or preserve unknown fields of an object")
    if "$ref" in schema:
        return _referenced(schema, place)
    if schema.get(INT_OR_STRING):
        return _common(schema)
    if "anyOf" in schema:
        return _optional(schema, place)
    return _plain(schema, place)


def _referenced(schema: Mapping[str, Any], place: _Place) -> Schema:
    reference = str(schema["$ref"]).removeprefix("#/$defs/")
    if reference in place.inside:
        return place.says(f"{reference} contains itself")
    if reference not in place.definitions:
        return place.says(f"refers to {schema['$ref']}, which is not in $defs")
    return _rewritten({**place.definitions[reference], **_without(schema, "$ref")}, place.within(reference))


def _optional(schema: Mapping[str, Any], place: _Place) -> Schema:
    options = [option for option in schema["anyOf"] if option != _NULL]
    if len(options) != 1:
        return place.says(f"a union of {len(options)} schemas; use one object with optional members")
    beside = _without(schema, "anyOf")
    if len(options) < len(schema["anyOf"]) and beside.get("default", ...) is None:
        del beside["default"]  # optional in a CRD is: not required, no default
    return _rewritten({**options[0], **beside}, place)


def _plain(schema: Mapping[str, Any], place: _Place) -> Schema:
    for keyword in schema:
        if keyword not in _KNOWN and not keyword.startswith("x-kubernetes-"):
            place.says(f"the keyword {keyword} has no counterpart")
    match schema.get("type"):
        case "object":
            made = _object(schema, place)
        case "array":
            made = _array(schema, place)
        case "string" | "integer" | "number" | "boolean":
            made = _scalar(schema, place)
        case None:
            made = _common(schema) if schema.get(PRESERVE) else place.says("has no type")
        case other:
            made = place.says(f"its type is {other!r}; a CRD knows single types only, and not null")
    if "default" in schema and (why := _misfit(schema["default"], schema)):
        place.says(f"its default {schema['default']!r} {why}, so the API server refuses the schema")
    return made


def _common(schema: Mapping[str, Any]) -> Schema:
    return {key: value for key, value in schema.items() if key in _KEPT or key.startswith("x-kubernetes-")}


def _object(schema: Mapping[str, Any], place: _Place) -> Schema:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", False)
    free = bool(schema.get(PRESERVE))
    if properties and others is not False:
        place.says("has both properties and additionalProperties")
    if not properties and others is False and not free:
        place.says("an object without properties keeps nothing; preserve unknown fields, or name them")
    made = _common(schema)
    if properties:
        made["properties"] = {name: _rewritten(child, place.at(name)) for name, child in properties.items()}
        # what a program computes (pydantic says readOnly) was not in what older programs wrote
        required = [name for name in schema.get("required", ()) if not properties[name].get("readOnly")]
        made |= {"required": required} if required else {}
    elif others is not False:
        made["additionalProperties"] = _rewritten(others, place.at("*"))
    elif free:
        del made[PRESERVE]
        made["additionalProperties"] = ANYTHING
    return made


def _array(schema: Mapping[str, Any], place: _Place) -> Schema:
    prefix = schema.get("prefixItems", [])
    if any(item != prefix[0] for item in prefix):
        return place.says("a tuple of different schemas; use an object with named members")
    items = _rewritten(prefix[0] if prefix else schema.get("items"), place.at("[]"))
    made = _common(schema) | {"items": items}
    if schema.get("uniqueItems"):
        made[LIST_TYPE] = "set"
        if items.get("type") == "object":
            place.says("a set of objects; a CRD compares scalars only")
    return made


def _scalar(schema: Mapping[str, Any], place: _Place) -> Schema:
    if _NOT_IN_RE2.search(schema.get("pattern", "")):
        place.says("its pattern looks ahead, behind or back, which RE2 does not know")
    made = _common(schema)
    if "const" in schema:
        made["enum"] = [schema["const"]]
    for exclusive, inclusive in _BOUNDS.items():
        if exclusive in schema:
            made |= {inclusive: schema[exclusive], exclusive: True}
    if made.get("maximum") == _PAST_INTEGERS:  # said by the type already, and no bound that the API server can hold
        del made["maximum"]
        made.pop("exclusiveMaximum", None)
    return made


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


def _without(schema: Mapping[str, Any], keyword: str) -> Schema:
    return {key: value for key, value in schema.items() if key != keyword}
