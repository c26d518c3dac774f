"""Writes the CustomResourceDefinitions of the contracts as YAML: `scripts/generate-crds [--check] [FOLDER]`."""

# ruff: noqa: INP001 -- a program, not a package
import argparse
import difflib
import sys
from pathlib import Path

import yaml

from auteur_contracts.crds import DECLARATIONS, Declaration, crd

FOLDER = Path(__file__).parents[1] / "manifests" / "crds"
HEADER = "# Written by scripts/generate-crds from libs/contracts/auteur_contracts/crds.py: change it there.\n"


class _Plain(yaml.SafeDumper):
    """Without anchors: files that are copied and cut to pieces."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- yaml's signature
        return True


def text_of(declaration: Declaration) -> str:
    dumped = yaml.dump(crd(declaration), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return HEADER + dumped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not up to date")
    asked = parser.parse_args()
    wanted = {f"{declaration.plural}.yaml": text_of(declaration) for declaration in DECLARATIONS}
    if asked.check:
        return _check(asked.folder, wanted)
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (asked.folder / name).write_text(text, encoding="utf-8")
    return 0


def _check(folder: Path, wanted: dict[str, str]) -> int:
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))}
    if found == wanted:
        return 0
    for name in sorted(found.keys() | wanted.keys()):
        old, new = found.get(name, "").splitlines(keepends=True), wanted.get(name, "").splitlines(keepends=True)
        sys.stderr.writelines(difflib.unified_diff(old, new, f"{folder.name}/{name}", "as the contracts have it"))
    sys.stderr.write("error: manifests/crds is not what the contracts say\n  run scripts/generate-crds\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
