"""Dockerfiles as data, and what a program imports: for tests that read rather than build."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
OURS = sorted((CHECKOUT / "images").glob("*/Dockerfile")) + sorted((CHECKOUT / "images").glob("runners/*/Dockerfile"))
ALL = [
    file
    for file in [*OURS, *sorted((CHECKOUT / "tests" / "data").glob("runner-*/Dockerfile"))]
    if file.parent.name != "base"  # a root file system made elsewhere
]


@dataclass(frozen=True)
class Instruction:
    word: str
    rest: str


def instructions(file: Path) -> list[Instruction]:
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def last_stage(file: Path) -> list[Instruction]:
    """What ends up in the image."""
    found = instructions(file)
    begin = max(index for index, each in enumerate(found) if each.word == "FROM")
    return found[begin:]


def copied(file: Path) -> list[str]:
    """What is taken from the checkout, in any stage."""
    taken = []
    for each in instructions(file):
        words = [word for word in each.rest.split() if not word.startswith("--chown")]
        if each.word == "COPY" and not words[0].startswith("--from"):
            taken += words[:-1]
    return taken


def packages_of(folders: list[str]) -> set[str]:
    """Our packages in those folders."""
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
