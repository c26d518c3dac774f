"""The rows of `docs/founding.md`: what was asked for, and what the page says became of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_HEADER = ["kind", "asked for", "ours", "state", "what to know"]


class State(StrEnum):
    AS_ASKED = "as asked"
    OTHERWISE = "otherwise"
    REFUSED = "refused"
    NOT_YET = "not yet"
    NEVER = "never"


@dataclass(frozen=True)
class Row:
    kind: str
    asked: str
    ours: str
    state: State

    @property
    def present(self) -> str:
        """The name under which it must be there; empty where it must not."""
        match self.state:
            case State.AS_ASKED:
                return self.asked
            case State.OTHERWISE:
                return self.ours
            case _:
                return ""

    @property
    def absent(self) -> str:
        """The name under which it must not be there; empty where it may."""
        return self.asked if self.state in (State.OTHERWISE, State.NOT_YET, State.NEVER) else ""


def rows() -> list[Row]:
    """Every row of every table that begins with our header. Raises where one is not of the form."""
    found: list[Row] = []
    inside = False
    for line in (CHECKOUT / "docs" / "founding.md").read_text().splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells == _HEADER:
            inside = True
        elif inside and not line.startswith("|---"):
            found.append(_row(cells, line))
    return found


def _row(cells: list[str], line: str) -> Row:
    if len(cells) != len(_HEADER) or not (cells[1].startswith("`") and cells[1].endswith("`")):
        raise ValueError(f"not a row of the page: {line}")
    row = Row(cells[0], cells[1].strip("`"), cells[2].strip("`"), State(cells[3]))
    if bool(row.ours) is not (row.state is State.OTHERWISE):
        raise ValueError(f"the third column is for what is there otherwise, and only for that: {line}")
    return row


def rows_of(kind: str) -> list[Row]:
    return [row for row in rows() if row.kind == kind]
