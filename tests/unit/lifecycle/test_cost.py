"""Cost: seconds times price, to the millionth of a dollar."""

from decimal import Decimal

import pytest

from auteur_contracts.resources import Cost, Plan
from auteur_lifecycle.cost import add, cost_of
from auteur_lifecycle.resolve import resolve
from tests.unit.lifecycle.making import job, runner


def plan(price: str | None, vram: float) -> Plan:
    tier = {"quality": "standard", "pipeline": "p", "vramGigabytes": vram}
    made = resolve(job(), [runner(tiers=[tier | ({"price": {"usdPerSecond": price}} if price else {})])])
    assert isinstance(made, Plan)
    return made


@pytest.mark.parametrize(
    ("price", "vram", "seconds", "cost"),
    [
        (None, 0, 5.2, Cost(usd=Decimal(0), gpu_seconds=0)),
        (None, 12, 5.2, Cost(usd=Decimal(0), gpu_seconds=5.2)),
        ("0.001", 12, 12.3456, Cost(usd=Decimal("0.012346"), gpu_seconds=12.346)),
        ("0.001", 0, 12.3, Cost(usd=Decimal("0.0123"), gpu_seconds=0)),
        ("1", 0, 100, Cost(usd=Decimal(100), gpu_seconds=0)),
        ("1", 12, -3, Cost(usd=Decimal(0), gpu_seconds=0)),
        ("1", 12, float("nan"), Cost(usd=Decimal(0), gpu_seconds=0)),
        ("1", 12, 1e300, Cost(usd=Decimal(31_622_400), gpu_seconds=31_622_400.0)),
    ],
)
def test_cost(price: str | None, vram: float, seconds: float, cost: Cost) -> None:
    found = cost_of(plan(price, vram), seconds)
    assert found == cost
    assert found.model_dump_json() == cost.model_dump_json()


def test_attempts_add_up_exactly() -> None:
    tenth = Cost(usd=Decimal("0.1"), gpu_seconds=0.1)
    assert add(add(add(None, tenth), tenth), tenth) == Cost(usd=Decimal("0.3"), gpu_seconds=0.3)
