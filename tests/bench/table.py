"""The form of every bench's result: a figure, its floor measured in the same run, their ratio, its goal."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """Without a floor the goal is one for the measured value, with one it is for the ratio: machines differ by two and
    more, and what the bare work costs on this machine, now, is the only yardstick that travels.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    floor: float | None = None
    """What the least that does the same work needs, in the same unit."""
    at_most: bool = True
    """The goal is an upper bound; a lower one otherwise."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.floor is None else self.value / self.floor

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        judged = self.value if self.ratio is None else self.ratio
        met = judged <= self.goal if self.at_most else judged >= self.goal
        return "met" if met else "missed"

    def cells(self) -> tuple[str, ...]:
        """Name, measured, floor, ratio, goal, verdict and note, as the table shows them."""
        unit = self.unit if self.ratio is None else "×"
        bound = "≤" if self.at_most else "≥"
        return (
            self.name,
            f"{self.value:,.2f} {self.unit}",
            "" if self.floor is None else f"{self.floor:,.2f} {self.unit}",
            "" if self.ratio is None else f"{self.ratio:.2f} ×",
            "" if self.goal is None else f"{bound} {self.goal:g} {unit}",
            self.verdict,
            self.note,
        )


def show(title: str, figures: list[Figure]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "floor", "ratio", "goal", "", "note"):
        table.add_column(column, justify="left" if column in ("figure", "", "note") else "right")
    for figure in figures:
        table.add_row(*figure.cells())
    Console(width=160).print(table)


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile; `share` 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
