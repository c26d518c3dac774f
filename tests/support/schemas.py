"""What a structural schema lets through: judged as an API server does, drawn at random, and as large as it may be."""

import json
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker

Schema = Mapping[str, Any]
KEYS = "x-kubernetes-list-map-keys"
_MOMENT = "2026-01-01T12:00:00.000000Z"
_LARGEST_INTEGER = 2**63 - 1
_BROAD = "🦊"
"""Four bytes, one character."""


# ── judged ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def complaints(schema: Schema, value: Any) -> list[str]:
    """What an API server would refuse or silently drop; its CEL rules are not asked. Draft 4 has the same bounds."""
    errors = Draft4Validator(_closed(schema), format_checker=FormatChecker()).iter_errors(value)
    found = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    return sorted(found) + _repeated(schema, value, "")


def _closed(schema: Schema) -> dict[str, Any]:
    """What is not named is pruned: the same as refused, for what a program writes."""
    made = dict(schema)
    if "properties" in schema:
        made["properties"] = {name: _closed(child) for name, child in schema["properties"].items()}
        made["additionalProperties"] = False
    elif "additionalProperties" in schema:
        made["additionalProperties"] = _closed(schema["additionalProperties"])
    if "items" in schema:
        made["items"] = _closed(schema["items"])
    return made


def _repeated(schema: Schema, value: Any, path: str) -> list[str]:
    """Objects of a list that have the same key."""
    if isinstance(value, dict):
        children = schema.get("properties", {})
        return [
            found
            for name, child in value.items()
            if name in children
            for found in _repeated(children[name], child, f"{path}.{name}")
        ]
    if not isinstance(value, list):
        return []
    keys = [tuple(item.get(key) for key in schema.get(KEYS, ())) for item in value if isinstance(item, dict)]
    twice = [f"{path}: {key} twice" for key in set(keys) if keys.count(key) > 1 and key]
    return twice + [found for item in value for found in _repeated(schema["items"], item, f"{path}[]")]


# ── at random ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


_TEXTS = (
    *("a", "0", "9z", "a-b", "A_b", "_x", "a.b", "a.0.b", "picture-1.png", "x" * 50, "x" * 63, "f" * 64, "7" * 64),
    *("5m", "90s", "1h30m", "0s", "366d", "367d", "9999d", "1ms", "00000000000000000000000000000001s"),
    *("0.0001", "1000", "1000.000000000001", "9999", "0.000000000001", "500m", "2Gi", "1.5", "1e3", "12", "9" * 16),
    *("image/png", "*/*", "image/*", "audio/x-wav", "/", "/models/a-b", "s3://b/k", "s3://bucket/a/b/../c.png"),
)
"""Of every form there is, the least, the usual, and the edges."""


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that the schema lets through. Texts are short, and few where they have a form: quick, not thorough."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return _objects(schema)
        case "array":
            return _arrays(schema)
        case "string":
            return _strings(schema)
        case "integer":
            return st.integers(schema.get("minimum", -(2**31)), min(schema.get("maximum", 2**31), 2**53))
        case "number":
            return st.floats(schema.get("minimum", -1e9), schema.get("maximum", 1e9))
        case "boolean":
            return st.booleans()
        case _:
            return _ANY_JSON


def _objects(schema: Schema) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        names = st.text("abcXYZ-_. ä", min_size=1, max_size=8)
        return st.dictionaries(names, values(schema["additionalProperties"]), max_size=3)
    children = {name: values(child) for name, child in schema["properties"].items()}
    required = {name: children.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=children)


def _arrays(schema: Schema) -> st.SearchStrategy[Any]:
    keys = schema.get(KEYS)
    differ = None if keys is None else lambda item: tuple(item[key] for key in keys)
    return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=2, unique_by=differ)


def _strings(schema: Schema) -> st.SearchStrategy[Any]:
    if schema.get("format") == "date-time":
        return st.just(_MOMENT)
    if "pattern" in schema:
        matching = [text for text in _TEXTS if re.search(schema["pattern"], text) and len(text) <= schema["maxLength"]]
        assert matching, f"no text is known for {schema['pattern']}"
        return st.sampled_from(matching)
    return st.text(min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 8), 8))


# ── as large as it may be ─────────────────────────────────────────────────────────────────────────────────────────────


def largest(schema: Schema, *, free: int, number: int = 0) -> Any:
    """The largest value: every field there, every list full, text in characters of four bytes where it may have them.
    A free JSON object has `free` bytes. `number` makes the keys of a list differ.
    """
    if "enum" in schema:
        return schema["enum"][number] if number < len(schema["enum"]) else max(schema["enum"], key=len)
    match schema.get("type"):
        case "object":
            return _largest_object(schema, free, number)
        case "array":
            items, count = schema["items"], schema["maxItems"]
            keyed = items.get("properties", {}).get((schema.get(KEYS) or [""])[0], {})
            return [
                largest(items, free=free, number=at) for at in range(min(count, len(keyed.get("enum", [0] * count))))
            ]
        case "string":
            return _longest(schema, number)
        case "integer":
            return min(schema.get("maximum", _LARGEST_INTEGER), _LARGEST_INTEGER)
        case "number":
            return schema.get("maximum", 1.7976931348623157e308)
        case _:
            return False


def _largest_object(schema: Schema, free: int, number: int) -> Any:
    if "properties" in schema:
        return {name: largest(child, free=free, number=number) for name, child in schema["properties"].items()}
    values_of = schema["additionalProperties"]
    if "type" not in values_of:
        return {"text": "x" * (free - len(json.dumps({"text": ""})))}
    return {f"{at}-{'k' * 60}": largest(values_of, free=free) for at in range(schema["maxProperties"])}


def _longest(schema: Schema, number: int) -> str:
    if schema.get("format") == "date-time":
        return _MOMENT
    length: int = schema["maxLength"]
    if "pattern" not in schema:
        return _BROAD * length
    tail = f"{number:04d}"
    tries = ("a" * length, "9" * length, "9" * (length - 1) + "s", "/" + "a" * (length - 1), "a/" + "a" * (length - 2))
    for text in (*tries, "s3://" + "a" * (length - 5), "9." + "9" * 12):
        numbered = text[:-4] + tail if number else text
        for candidate in (numbered, text):
            if re.search(schema["pattern"], candidate) and len(candidate) <= length:
                return candidate
    raise AssertionError(f"no long text is known for {schema['pattern']}")
