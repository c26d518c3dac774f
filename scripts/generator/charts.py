"""charts/: what they copy, because a chart travels alone. Versions, CRDs, and the runners with their functions."""

import re
import textwrap
from typing import Any

from auteur_contracts.resources import FunctionRunner
from scripts.generator.runners import Offered
from scripts.generator.text import as_yaml, indented, with_part

_APP_VERSION = re.compile(r'^appVersion: "[^"]*"', re.MULTILINE)


def with_version(chart: str, version: str) -> str:
    """A Chart.yaml."""
    return _APP_VERSION.sub(f'appVersion: "{version}"', chart)


def functions(runner: FunctionRunner) -> str:
    """As `spec.functions` has them."""
    declared = runner.model_dump(mode="json", exclude_defaults=True)["spec"]["functions"]
    head = f"# Written by scripts/generate from what the runner {runner.metadata.name} says of itself.\n"
    return head + as_yaml(_without_nulls(declared))


def _without_nulls(value: Any) -> Any:
    """A `default: null` says what leaving it out says; a manifest cannot hold it without being read as a deletion."""
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value


def with_runners(values: str, runners: list[Offered]) -> str:
    """The values.yaml of auteur-runners."""
    return with_part(values, "runners", "\n".join(indented(_entry(each), 2) for each in runners))


def _entry(runner: Offered) -> str:
    about = "".join(f"# {line}\n" for line in textwrap.wrap(runner.installed.about, 116))
    return about + as_yaml({runner.name: values(runner)}, flow=True)


def values(runner: Offered) -> dict[str, Any]:
    """How an installation starts out with a runner: every value there is, so that it can be read about."""
    spec = runner.described.spec
    tiers = {}
    for tier in spec.tiers:
        told = tier.model_dump(mode="json", exclude_defaults=True, exclude={"quality", "warm"})
        told |= {"resources": tier.resources.model_dump(mode="json")}
        tiers[tier.quality.value] = told | {"warm": runner.warm(tier.quality).model_dump(mode="json")}
    return {
        "enabled": runner.deployed,
        "image": {"repository": runner.image, "tag": "", "digest": ""},
        "tiers": tiers,
        "setupTimeout": spec.model_dump(mode="json")["setupTimeout"],
        "allocation": spec.allocation.value,
        "nodeSelector": {},
        "tolerations": [],
        "podAnnotations": {},
        "modelVolumes": [],
    }
