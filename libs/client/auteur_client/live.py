"""What `watch` draws over and over on a terminal: the table of jobs, with rich's bars where there is progress."""

from collections.abc import Sequence
from datetime import datetime

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from auteur_client.render import fraction_of, job_table
from auteur_client.table import PHASE_STYLES
from auteur_client.terminal import printable
from auteur_contracts.web.http import GenerationReply

BAR_WIDTH = 10


def live_table(jobs: Sequence[GenerationReply], now: datetime, width: int) -> Table:
    """As many columns as fit beside the bars."""
    cells = job_table(jobs, now, live=True).without("AGE").fitted(width - BAR_WIDTH - 1)
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in cells.columns:
        drawn.add_column(column, no_wrap=True, overflow="crop")
    for job, row in zip(jobs, cells.rows, strict=True):
        drawn.add_row(*(_cell(job, column, text) for column, text in zip(cells.columns, row, strict=True)))
    return drawn


def _cell(job: GenerationReply, column: str, text: str) -> Text | Table:
    plain = Text(printable(text), style=PHASE_STYLES.get(text, "") if column == "PHASE" else "")
    fraction = fraction_of(job) if column == "PROGRESS" else None
    if fraction is None:
        return plain
    both = Table.grid(padding=(0, 1, 0, 0))
    both.add_row(ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH), plain)
    return both
