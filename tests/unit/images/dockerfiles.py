"""Dockerfiles as data, and what a program imports: for tests that read rather than build."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.cluster.ours import Recipe

CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


def instructions(file: Path) -> list[Instruction]:
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def filled(text: str, arguments: Mapping[str, str]) -> str:
    for name, value in arguments.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def stages(file: Path, arguments: Mapping[str, str]) -> dict[str, list[Instruction]]:
    """By name, in their order; the last one's name is empty where it has none."""
    found: dict[str, list[Instruction]] = {}
    for each in (Instruction(one.word, filled(one.rest, arguments)) for one in instructions(file)):
        if each.word == "FROM":
            found[each.rest.partition(" AS ")[2]] = []
        if found:
            found[next(reversed(found))].append(each)
    return found


def image(file: Path, arguments: Mapping[str, str]) -> list[Instruction]:
    """What ends up in the image: the last stage, under it those that it is made from."""
    known = stages(file, arguments)
    name, found = next(reversed(known)), list[Instruction]()
    while name in known:
        found = known[name] + found
        name = known[name][0].rest.partition(" AS ")[0]
    return found


def copied(file: Path, arguments: Mapping[str, str]) -> list[str]:
    """What is taken from the checkout, in any stage."""
    taken = []
    for each in instructions(file):
        words = [word for word in filled(each.rest, arguments).split() if not word.startswith("--chown")]
        if each.word == "COPY" and not words[0].startswith("--from"):
            taken += words[:-1]
    return taken


def packages_of(recipe: Recipe) -> set[str]:
    """Our packages in an image: of the folders that it copies, and of all libraries only those that it names."""
    folders = copied(recipe.dockerfile, recipe.arguments)
    if "libs" in folders:
        program = recipe.arguments["PROGRAM"]
        (kept,) = re.findall(rf'{program}\) libs="([^"]*)"', recipe.dockerfile.read_text())
        folders = [*(folder for folder in folders if folder != "libs"), *(f"libs/{each}" for each in kept.split())]
    found = (CHECKOUT / folder for folder in folders if folder.startswith(("libs/", "services/", "operator")))
    return {path.name for folder in found for path in folder.glob("auteur_*")}


# ── what a program imports ────────────────────────────────────────────────────────────────────────────────────────────

_ROOTS = [*(CHECKOUT / "libs").iterdir(), *(CHECKOUT / "services").iterdir(), CHECKOUT / "operator"]


def packages_imported(*modules: str) -> set[str]:
    """Our packages that the modules import, directly or not, at any time."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and _file(module) is not None:
            seen.add(module)
            waiting += [module.rpartition(".")[0], *_imports(module)]
    return {module.split(".")[0] for module in seen}


@cache
def _file(module: str) -> Path | None:
    place = module.replace(".", "/")
    candidates = (root / f"{place}{end}" for root in _ROOTS for end in (".py", "/__init__.py"))
    return next((path for path in candidates if module and path.is_file()), None)


def _imports(module: str) -> list[str]:
    file = _file(module)
    assert file is not None
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return [name for name in found if name.startswith("auteur_")]
