"""Writes into charts/ what has its source elsewhere, because a chart travels alone: the CRDs of manifests/crds, the
version of pyproject.toml, and what our runners say of themselves. `scripts/sync-charts [--check]`.
"""

# ruff: noqa: INP001 -- a program, not a package
import argparse
import importlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

from auteur_contracts.resources import FunctionRunner
from auteur_runner import Runner
from auteur_runner.describe import describe

ROOT = Path(__file__).parents[1]
CHARTS = ROOT / "charts"
_APP_VERSION = re.compile(r'^appVersion: "[^"]*"', re.MULTILINE)
_ENTRY_POINTS = "auteur.runners"


class _Plain(yaml.SafeDumper):
    """Without anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- yaml's signature
        return True


def wanted() -> dict[Path, str]:
    """Every file, and what should be in it."""
    files = {CHARTS / "auteur" / "files" / "crds" / path.name: path.read_text() for path in _crds()}
    for chart in ("auteur", "auteur-runners"):
        path = CHARTS / chart / "Chart.yaml"
        files[path] = _APP_VERSION.sub(f'appVersion: "{version()}"', path.read_text())
    for name, runner in described().items():
        files[CHARTS / "auteur-runners" / "files" / f"{name}.yaml"] = functions_of(runner)
    return files


def _crds() -> list[Path]:
    return sorted((ROOT / "manifests" / "crds").glob("*.yaml"))


def version() -> str:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return str(found)


def described() -> dict[str, FunctionRunner]:
    """Our runners, by the entry points of their own projects. Describing one loads no model."""
    found: dict[str, FunctionRunner] = {}
    for project in sorted((ROOT / "images" / "runners").glob("*/pyproject.toml")):
        declared = tomllib.loads(project.read_text())["project"]["entry-points"].get(_ENTRY_POINTS, {})
        sys.path.insert(0, str(project.parent))
        try:
            for name, target in declared.items():
                module, _, attribute = target.partition(":")
                found[name] = describe(_runner(importlib.import_module(module), attribute))
        finally:
            sys.path.remove(str(project.parent))
    return found


def _runner(module: object, attribute: str) -> Runner:
    runner = getattr(module, attribute)
    assert isinstance(runner, Runner), f"{attribute} is no Runner"  # noqa: S101 -- an entry point of ours
    return runner


def functions_of(runner: FunctionRunner) -> str:
    """As `spec.functions` has them."""
    declared = runner.model_dump(mode="json", by_alias=True, exclude_defaults=True)["spec"]["functions"]
    dumped = yaml.dump(_without_nulls(declared), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return f"# Written by scripts/sync-charts from what the runner {runner.metadata.name} says of itself.\n{dumped}"


def _without_nulls(value: Any) -> Any:
    """A `default: null` says what leaving it out says; a manifest cannot hold it without being read as a deletion."""
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not up to date")
    asked = parser.parse_args()
    files = wanted()
    copies = (CHARTS / "auteur" / "files" / "crds", CHARTS / "auteur-runners" / "files")
    orphans = [path for folder in copies for path in sorted(folder.glob("*.yaml")) if path not in files]
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if asked.check:
        for path in (*stale, *orphans):
            sys.stderr.write(f"not up to date: {path.relative_to(ROOT)}\n")
        if stale or orphans:
            sys.stderr.write("error: the charts are behind what they copy\n  run scripts/sync-charts\n")
        return 1 if stale or orphans else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    for path in orphans:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
