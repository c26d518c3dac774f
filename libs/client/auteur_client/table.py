"""What a terminal shows of lists, without the models that fill them: `auteur up` need not wait for those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auteur_contracts.vocabulary import Phase

SPARE_COLUMNS = ("AGE", "RUNNER", "QUALITY", "FUNCTION", "COST", "POSITION")
"""What a narrow terminal does without, in this order."""
PHASE_STYLES: Mapping[str, str] = {
    Phase.RUNNING: "cyan",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.CANCELLED: "yellow",
    Phase.RETRYING: "yellow",
    Phase.SUSPENDED: "dim",
}


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self) -> list[str]:
        """Aligned, two blanks between columns, nothing behind the last word."""
        widths = [max(len(row[number]) for row in (self.columns, *self.rows)) for number in range(len(self.columns))]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (self.columns, *self.rows)
        ]

    def fitted(self, width: int, spare: Sequence[str] = SPARE_COLUMNS) -> "Table":
        """With as few columns less as it takes to fit into `width`."""
        table = self
        for name in spare:
            if max(len(line) for line in table.lines()) <= width:
                break
            table = table.without(name)
        return table

    def without(self, column: str) -> "Table":
        kept = [number for number, name in enumerate(self.columns) if name != column]
        return Table(
            columns=tuple(self.columns[number] for number in kept),
            rows=tuple(tuple(row[number] for number in kept) for row in self.rows),
        )
