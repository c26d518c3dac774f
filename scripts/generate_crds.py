"""Writes what of manifests/ follows from code: the CustomResourceDefinitions of the contracts, and the sample of a
FunctionRunner as the runner describes itself. `scripts/generate-crds [--check] [FOLDER]`
"""

# ruff: noqa: INP001 -- a program, not a package
import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

import yaml

from auteur_contracts.crds import DECLARATIONS, crd
from auteur_contracts.resources import Warm
from auteur_contracts.vocabulary import Quality
from auteur_runner.describe import describe

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "images" / "runners" / "diffusion"))  # describing it needs no torch

CRD_HEADER = "# Written by scripts/generate-crds from libs/contracts/auteur_contracts/crds.py: change it there.\n"
RUNNER_HEADER = """\
# Written by scripts/generate-crds from what the runner diffusion-tiny says of itself.
# It draws coloured shapes on any CPU: kubectl apply --server-side -f manifests/samples/function-runner.yaml
# A runner of your own: `auteur runner describe TARGET` prints this, but for image and warm.
"""
RUNNER_IMAGE = "auteur-runner-diffusion:dev"
WARM = {Quality.STANDARD: Warm(min=1, max=2)}
COLD = Warm(min=0, max=1)


class _Plain(yaml.SafeDumper):
    """Without anchors: files that are copied and cut to pieces."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- yaml's signature
        return True


def files() -> dict[str, str]:
    """What there is to write, by path below manifests/."""
    crds = {f"crds/{each.plural}.yaml": CRD_HEADER + _yaml(crd(each)) for each in DECLARATIONS}
    return crds | {"samples/function-runner.yaml": RUNNER_HEADER + _yaml(sample_runner())}


def sample_runner() -> dict[str, Any]:
    """What the runner says of itself, and what only a cluster's people know: its image, and how many stay warm."""
    from auteur_diffusion import tiny  # noqa: PLC0415 -- found by the path above

    described = describe(tiny)
    tiers = [tier.model_copy(update={"warm": WARM.get(tier.quality, COLD)}) for tier in described.spec.tiers]
    spec = described.spec.model_copy(update={"image": RUNNER_IMAGE})
    told = spec.model_dump(mode="json", exclude_defaults=True)
    for written, tier in zip(told["tiers"], tiers, strict=True):  # with what is a default too: it is to be read
        written |= {"resources": tier.resources.model_dump(mode="json"), "warm": tier.warm.model_dump(mode="json")}
    head = {"apiVersion": described.api_version, "kind": described.kind, "metadata": {"name": described.metadata.name}}
    return head | {"spec": told}


def _yaml(resource: dict[str, Any]) -> str:
    text: str = yaml.dump(resource, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "manifests")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not up to date")
    asked = parser.parse_args()
    if asked.check:
        return _check(asked.folder)
    for name, text in files().items():
        (asked.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (asked.folder / name).write_text(text, encoding="utf-8")
    return 0


def _check(folder: Path) -> int:
    wanted = files()
    there = {name for name in wanted if (folder / name).is_file()}
    there |= {f"crds/{path.name}" for path in (folder / "crds").glob("*")}
    found = {name: (folder / name).read_text(encoding="utf-8") for name in there}
    if found == wanted:
        return 0
    for name in sorted(found.keys() | wanted.keys()):
        old, new = found.get(name, "").splitlines(keepends=True), wanted.get(name, "").splitlines(keepends=True)
        sys.stderr.writelines(difflib.unified_diff(old, new, f"{folder.name}/{name}", "as the code has it"))
    sys.stderr.write("error: manifests/ has files that are not what the code says\n  run scripts/generate-crds\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
