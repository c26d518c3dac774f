"""The form of every bench's result: a figure, its goal, whether it was met."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = True
    """The goal is an upper bound; a lower one otherwise."""
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        met = self.value <= self.goal if self.at_most else self.value >= self.goal
        return "met" if met else "MISSED"


def show(title: str, figures: list[Figure]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "goal", "", "note"):
        table.add_column(column, justify="right" if column in ("measured", "goal") else "left")
    for figure in figures:
        goal = "" if figure.goal is None else f"{'≤' if figure.at_most else '≥'} {figure.goal:g} {figure.unit}"
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}", goal, figure.verdict, figure.note)
    Console(width=140).print(table)


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile; `share` 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
