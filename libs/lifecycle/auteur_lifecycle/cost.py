"""Cost: seconds of a worker times its tier's price."""

from decimal import ROUND_HALF_UP, Decimal

from auteur_contracts.resources import Cost, Plan

_MICRO = Decimal("0.000001")
_YEAR = 366 * 86400.0
"""The longest deadline there is, in seconds."""


def cost_of(plan: Plan, run_seconds: float) -> Cost:
    """A tier without a price costs nothing; one without a GPU uses no GPU seconds."""
    run_seconds = min(run_seconds, _YEAR) if run_seconds > 0 else 0.0  # a clock may jump, a report be nonsense
    price = plan.tier.usd_per_second or Decimal(0)
    usd = (price * Decimal(str(run_seconds))).quantize(_MICRO, rounding=ROUND_HALF_UP).normalize()
    gpu_seconds = round(run_seconds, 3) if plan.tier.vram_gigabytes else 0.0
    return Cost(usd=usd + Decimal(0), gpu_seconds=gpu_seconds)


def add(one: Cost | None, other: Cost) -> Cost:
    """Every attempt is paid for, the failed ones too."""
    if one is None:
        return other
    return Cost(usd=one.usd + other.usd, gpu_seconds=round(one.gpu_seconds + other.gpu_seconds, 3))
