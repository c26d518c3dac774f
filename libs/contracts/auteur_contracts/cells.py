"""Percents, durations, sizes and money as a table shows them: the same in kubectl's columns and on the command line."""

from decimal import Decimal


def percent_cell(fraction: float) -> str:
    """100% is said of what is complete only."""
    return f"{int(round(fraction * 100, 6))}%"


def seconds_cell(seconds: float | None) -> str:
    """`0.1s`, `12s`, `7m`, `2h`, `3d`: one unit is enough to decide whether to wait."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    if seconds < 120:
        return f"{seconds:.0f}s"
    for unit, size in (("m", 60), ("h", 3600)):
        if seconds < size * (120 if unit == "m" else 48):
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def money_cell(usd: Decimal | None) -> str:
    """At least cents; smaller amounts with two digits that say something."""
    if usd is None:
        return ""
    if usd == 0 or usd >= Decimal("0.01"):
        return f"${usd:.2f}"
    return f"${usd:.{1 - usd.adjusted()}f}"


def bytes_cell(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
