"""What one machine does not act on in a runner is refused by name."""

import pytest

from auteur_contracts.catalogue import Platform
from auteur_contracts.resources import FunctionRunnerSpec
from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.capabilities import unsupported_runner

TIER = {"quality": "draft", "pipeline": "p"}
RUNNER = {"functions": [{"name": "f", "paramsSchema": {}}], "tiers": [TIER], "command": ["python"], "workers": 2}


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("image", {"image": "registry/flux:1"}),
        ("nodeSelector", {"nodeSelector": {"gpu": "big"}}),
        ("modelVolumes", {"modelVolumes": [{"name": "models", "claim": "models", "path": "/models"}]}),
        ("allocation", {"allocation": "dra"}),
        ("tiers[draft].warm", {"tiers": [{**TIER, "warm": {"min": 2, "max": 4}}]}),
        ("tiers[draft].warm", {"tiers": [{**TIER, "warm": {"idleSeconds": 5}}]}),
    ],
)
def test_a_clusters_field_is_refused_by_name(field: str, spec: dict[str, object]) -> None:
    runner = FunctionRunnerSpec.model_validate({**RUNNER, **spec})
    refusal = unsupported_runner(runner)
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (Reason.NOT_SUPPORTED, field)
    assert refusal.text.startswith(
        f"spec.{field} is for workers in pods, which one machine does not have. Leave it out"[:60]
    )
    assert refusal.remedy
    assert unsupported_runner(runner, Platform(queues=True, params_from=True, pods=True)) is None


def test_what_one_machine_acts_on_or_may_overlook_passes() -> None:
    asked = {"resources": {"cpu": "4", "memory": "8Gi", "threads": 2}, "price": {"usdPerSecond": "0.1"}}
    spec = {"tiers": [{**TIER, **asked}], "allocation": "auto", "setupTimeout": "20m"}
    assert unsupported_runner(FunctionRunnerSpec.model_validate({**RUNNER, **spec})) is None
