"""`scripts/generate [--check]`: writes whatever in this checkout follows from code: custom resources, what the charts
copy, and all that says which runners there are. A new runner is a new folder in images/runners, and then this.
"""

import argparse
import difflib
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from scripts.generator import charts, deployments, pages, resources, runners

ROOT = Path(__file__).parents[2]
CRDS = ("manifests/crds", "charts/auteur/files/crds")
FUNCTIONS = "charts/auteur-runners/files"
PAGES = "docs/functions"
CHARTS = ("charts/auteur/Chart.yaml", "charts/auteur-runners/Chart.yaml")
VALUES = "charts/auteur-runners/values.yaml"
SAMPLE = "manifests/samples/function-runner.yaml"
SAMPLED = "diffusion-tiny"
"""The runner that the samples are for."""


def wanted(root: Path) -> dict[str, str]:
    """What there should be, by path."""

    def there(path: str) -> str:
        return (root / path).read_text(encoding="utf-8")

    version = tomllib.loads(there("pyproject.toml"))["project"]["version"]
    offered = runners.found(root)
    files = {f"{folder}/{name}": text for name, text in resources.crds().items() for folder in CRDS}
    files |= {f"{FUNCTIONS}/{each.name}.yaml": charts.functions(each.described) for each in offered}
    files |= {f"{PAGES}/{name}": text for name, text in pages.pages(root, offered).items()}
    for each in offered:
        if each.name == SAMPLED:
            files[SAMPLE] = resources.sample(each)
    files |= {path: charts.with_version(there(path), version) for path in CHARTS}
    return files | {
        VALUES: charts.with_runners(there(VALUES), offered),
        "compose.yaml": deployments.with_workers(there("compose.yaml"), offered, version),
        "skaffold.yaml": deployments.with_artifacts(there("skaffold.yaml"), offered),
    }


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="scripts/generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not up to date")
    arguments = parser.parse_args(argv)
    try:
        files = wanted(root)
    except ValueError as error:  # pydantic's too
        sys.stderr.write(f"error: {error}\n")
        return 1
    # In these folders nothing lies that is not written here.
    owned = (path for folder in (*CRDS, FUNCTIONS, PAGES) for path in (root / folder).glob("*.*"))
    there = {path: _read(root / path) for path in files.keys() | {path.relative_to(root).as_posix() for path in owned}}
    stale = sorted(path for path, text in there.items() if text != files.get(path, ""))
    if arguments.check:
        return _tell(stale, there, files)
    for path in stale:
        if path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path], encoding="utf-8")
        else:
            (root / path).unlink()
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _tell(stale: list[str], there: dict[str, str], files: dict[str, str]) -> int:
    for path in stale:
        old, new = there[path].splitlines(keepends=True), files.get(path, "").splitlines(keepends=True)
        sys.stderr.writelines(difflib.unified_diff(old, new, path, "as the code has it"))
    if stale:
        sys.stderr.write(f"error: not up to date: {', '.join(stale)}\n  run scripts/generate\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
