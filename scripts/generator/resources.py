"""manifests/: the CustomResourceDefinitions of the contracts, and the sample of a FunctionRunner."""

from typing import Any

from auteur_contracts.crds import DECLARATIONS, crd
from scripts.generator.runners import Offered
from scripts.generator.text import as_yaml

_CRD_HEADER = "# Written by scripts/generate from libs/contracts/auteur_contracts/crds.py: change it there.\n"
_SAMPLE_HEADER = """\
# Written by scripts/generate from what the runner {name} says of itself: a runner as a cluster gets it.
# kubectl apply --server-side -f manifests/samples/function-runner.yaml
# A runner of your own: `auteur runner describe TARGET` prints this, but for image and warm.
"""


def crds() -> dict[str, str]:
    """Text by file name."""
    return {f"{each.plural}.yaml": _CRD_HEADER + as_yaml(crd(each)) for each in DECLARATIONS}


def sample(runner: Offered) -> str:
    """What the runner says of itself, and what only a cluster's people know: its image, and how many stay warm."""
    described = runner.described
    spec = described.spec.model_copy(update={"image": f"{runner.image}:dev"})
    told = spec.model_dump(mode="json", exclude_defaults=True)
    for written, tier in zip(told["tiers"], spec.tiers, strict=True):  # with what is a default too: it is to be read
        warm = runner.warm(tier.quality)
        written |= {"resources": tier.resources.model_dump(mode="json"), "warm": warm.model_dump(mode="json")}
    head: dict[str, Any] = {"apiVersion": described.api_version, "kind": described.kind}
    return _SAMPLE_HEADER.format(name=runner.name) + as_yaml({**head, "metadata": {"name": runner.name}, "spec": told})
