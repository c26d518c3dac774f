"""docs/functions/: a page for each function, of what its runners say of themselves, and a list of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auteur_contracts.resources import FunctionDeclaration, TierDeclaration
from scripts.generator.runners import Offered

_HEADER = (
    "<!-- Written by scripts/generate from what the runners say of themselves: change it in images/runners/. -->\n"
)
_INDEX = "README.md"


def pages(root: Path, runners: list[Offered]) -> dict[str, str]:
    """Text by file name."""
    by_function: dict[str, list[tuple[Offered, FunctionDeclaration]]] = {}
    for runner in runners:
        for function in runner.described.spec.functions:
            by_function.setdefault(function.name, []).append((runner, function))
    ordered = dict(sorted(by_function.items()))
    return {_INDEX: _index(ordered)} | {f"{name}.md": _page(root, name, served) for name, served in ordered.items()}


def _index(by_function: dict[str, list[tuple[Offered, FunctionDeclaration]]]) -> str:
    rows = []
    for name, served in by_function.items():
        names = ", ".join(f"`{runner.name}`" for runner, _ in served)
        rows.append(f"| [{name}]({name}.md) | {_cell(served[0][1].description)} | {names} |")
    return "\n".join((f"{_HEADER}# Functions\n", "| function | what it makes | runners |", "|---|---|---|", *rows, ""))


def _page(root: Path, name: str, served: list[tuple[Offered, FunctionDeclaration]]) -> str:
    parts = (part for runner, function in served for part in _by_runner(root, runner, function))
    return "\n".join((f"{_HEADER}# {name}", *parts))


def _by_runner(root: Path, runner: Offered, function: FunctionDeclaration) -> Iterator[str]:
    readme = root / runner.place / "README.md"
    yield f"\n## By `{runner.name}`\n{function.description}\n"
    yield f"{runner.installed.about}\n" if runner.installed.about else ""
    if readme.is_file():
        yield f"More of this runner: [{runner.place}](../../{runner.place}/README.md)\n"
    yield from _parameters(function.params_schema)
    yield from _files("input", [(each.name, each.media_type, each.description) for each in function.inputs])
    yield from _files("output", [(each.name, each.media_type, "") for each in function.outputs])
    yield from _tiers(runner.described.spec.tiers)
    if function.example:
        yield f"An example: `{json.dumps(function.example, ensure_ascii=False)}`\n"


def _parameters(schema: dict[str, Any]) -> Iterator[str]:
    required = set(schema.get("required", ()))
    yield "| parameter | takes | default | what |\n|---|---|---|---|"
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else _code(field.get("default"))
        yield f"| `{name}` | {_takes(field, schema)} | {default} | {_cell(field.get('description', ''))} |"
    yield ""


def _takes(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """The type with its limits, in the words of JSON Schema."""
    if "$ref" in field:
        return _takes(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    for several in ("anyOf", "allOf", "oneOf"):
        if several in field:
            kinds = (_takes(each, schema) for each in field[several] if each.get("type") != "null")
            return " or ".join(kinds)
    if "enum" in field:
        return ", ".join(_code(each) for each in field["enum"])
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    limits = [
        *([f"≥ {low:g}"] if low is not None else [f"> {above:g}"] if above is not None else []),
        *([f"≤ {high:.16g}"] if high is not None else [f"< {below:.16g}"] if below is not None else []),
        *([f"a multiple of {field['multipleOf']:g}"] if "multipleOf" in field else []),
        *([f"at most {field['maxLength']} characters"] if "maxLength" in field else []),
    ]
    return ", ".join((field.get("type", "anything"), *limits))


def _files(kind: str, files: list[tuple[str, str, str]]) -> Iterator[str]:
    if files:
        yield f"| {kind} | media type | what |\n|---|---|---|"
        yield from (f"| `{name}` | {media_type} | {_cell(what)} |" for name, media_type, what in files)
        yield ""


def _tiers(tiers: tuple[TierDeclaration, ...]) -> Iterator[str]:
    yield "| quality | pipeline | GPU memory | unless said otherwise |\n|---|---|---|---|"
    for tier in tiers:
        memory = f"{tier.vram_gigabytes:g} GB" if tier.vram_gigabytes else "none"
        defaults = ", ".join(f"{name} {value}" for name, value in tier.defaults.items())
        yield f"| {tier.quality} | `{tier.pipeline}` | {memory} | {defaults} |"
    yield ""


def _code(value: Any) -> str:
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
