"""How jobs look."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from auteur_client.live import live_table
from auteur_client.render import (
    describe_lines,
    ending_line,
    job_table,
    moment_line,
    output_table,
    progress_cell,
    saved_line,
    saved_name,
)
from auteur_contracts.cells import bytes_cell, money_cell, seconds_cell
from auteur_contracts.resources import GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Phase, Reason
from auteur_contracts.web.http import FailureReply, ProgressReply
from tests.unit.client.examples import NOW, PNG, job

RUNNING = job("ring-7k2", progress=ProgressReply(progress=0.7, phase="denoise", step=14, steps=20, eta_seconds=0.1))
QUEUED = job("ring-9xd", Phase.QUEUED, queue_position=1, queue_eta_seconds=0.4)
DONE = job("ring-b41", Phase.SUCCEEDED, outputs=(PNG,), seed=7, cost_usd=Decimal("0.0042"))
FAILED = job(
    "ring-c",
    Phase.FAILED,
    error=FailureReply(
        fault=Fault.FUNCTION,
        reason=Reason.OUT_OF_MEMORY,
        message="The model needs 24 GB.",
        remedy='Ask for quality "draft".',
        log_tail=("loading", "killed"),
    ),
)


def test_the_table_is_aligned() -> None:
    assert job_table([RUNNING, QUEUED, DONE], NOW).lines() == [
        "NAME      FUNCTION       QUALITY  RUNNER          PHASE      PROGRESS  POSITION  ETA   COST     AGE",
        "ring-7k2  text-to-image  high     diffusion-tiny  Running    14/20               0.1s           12s",
        "ring-9xd  text-to-image  high     diffusion-tiny  Queued               1         0.4s           12s",
        "ring-b41  text-to-image  high     diffusion-tiny  Succeeded  100%                      $0.0042  12s",
    ]


def test_where_someone_watches_there_are_bars_and_no_line_is_longer_than_the_terminal() -> None:
    screen = Console(width=66, record=True, file=StringIO(), color_system=None)
    screen.print(live_table([RUNNING, QUEUED, DONE], NOW, 66))
    assert [line.rstrip() for line in screen.export_text().splitlines()] == [
        "NAME      PHASE      PROGRESS          POSITION  ETA   COST",
        "ring-7k2  Running    ━━━━━━━    14/20            0.1s",
        "ring-9xd  Queued                       1         0.4s",
        "ring-b41  Succeeded  ━━━━━━━━━━ 100%                   $0.0042",
    ]


def test_before_a_function_counts_steps_the_cell_beside_a_bar_says_what_it_does() -> None:
    loading = job(progress=ProgressReply(progress=0.1, phase="loading model"))
    assert progress_cell(loading, live=True) == "loading model"
    assert progress_cell(loading) == "10%"


def test_a_narrow_terminal_gets_fewer_columns_not_broken_lines() -> None:
    table = job_table([RUNNING, QUEUED], NOW)
    narrow = table.fitted(60)

    assert table.fitted(200) == table
    assert narrow.columns == ("NAME", "PHASE", "PROGRESS", "POSITION", "ETA", "COST")
    assert max(len(line) for line in narrow.lines()) <= 60
    assert table.fitted(1).columns == ("NAME", "PHASE", "PROGRESS", "ETA")


def test_the_table_of_a_pipe_has_figures_only() -> None:
    assert [row[5] for row in job_table([RUNNING, QUEUED, DONE, FAILED], NOW).rows] == ["14/20", "", "100%", ""]


def test_the_wide_table_says_more_in_one_line() -> None:
    (row,) = job_table([job(message="two\nlines", attempt=2, seed=0, node_id="n1")], NOW, wide=True).rows
    assert row[10:] == ("default", "2", "0", "", "n1", "two lines")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0.04, "0.0s"), (0.1, "0.1s"), (9.94, "9.9s"), (9.96, "10s"), (119, "119s"), (120, "2m"),
     (7200, "2h"), (172_800, "2d"), (-3, "0.0s")],
)  # fmt: skip
def test_a_time_has_one_unit(seconds: float | None, said: str) -> None:
    assert seconds_cell(seconds) == said


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        (None, ""),
        ("0", "$0.00"),
        ("0.004", "$0.0040"),
        ("0.01", "$0.01"),
        ("1.239", "$1.24"),
        ("0.0000126", "$0.000013"),
    ],
)
def test_small_money_keeps_digits_that_say_something(usd: str | None, said: str) -> None:
    assert money_cell(None if usd is None else Decimal(usd)) == said


def test_sizes_have_one_unit() -> None:
    assert [bytes_cell(size) for size in (0, 999, 12_345, 5_000_000, 3_100_000_000)] == [
        "0 B",
        "999 B",
        "12.3 kB",
        "5.0 MB",
        "3.1 GB",
    ]


def test_an_ending_is_one_line() -> None:
    assert ending_line(DONE) == "✓ ring-b41  image.png 128×128  seed 7  $0.0042"
    assert ending_line(FAILED) == "✗ ring-c  The model needs 24 GB."
    assert ending_line(job("x", Phase.CANCELLED, cancelled_by="ada")) == "✗ x  cancelled by ada"


def test_a_log_of_a_watch_says_where_a_job_is() -> None:
    assert moment_line(QUEUED) == "ring-9xd  Queued"
    assert moment_line(RUNNING) == "ring-7k2  Running  denoise  14/20"


def test_a_saved_file_is_named_after_its_job() -> None:
    two = job(outputs=(PNG, PNG.model_copy(update={"name": "mask.png"})))

    assert saved_name(DONE, PNG) == "ring-b41.png"
    assert saved_name(two, PNG) == "ring-image.png"
    assert saved_line("out/ring-b41.png", PNG, DONE) == "✓ out/ring-b41.png   128×128   seed 7   sha256 9f2c…   $0.0042"


def test_outputs_are_listed_with_what_is_known_of_them() -> None:
    assert output_table([PNG]).rows == (
        ("image.png", "image/png", "12.3 kB", "128×128", "9f2c00000000", "/v1/generations/ring/outputs/image.png"),
    )


def test_describe_tells_a_failed_job_on_one_screen() -> None:
    moment = "2026-11-21T11:59:52Z"
    conditions = [
        {"type": "Running", "status": "False", "reason": "OutOfMemory", "lastTransitionTime": moment},
        {"type": "Finished", "status": "True", "reason": "OutOfMemory", "message": "", "lastTransitionTime": moment},
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Resolved",
            "message": "on diffusion-tiny",
            "lastTransitionTime": "2026-11-21T11:59:48Z",
        },
    ]
    status = GenerationJobStatus.model_validate({"conditions": conditions, "worker": "w-1"})
    told = FAILED.model_copy(
        update={
            "attempt": 1,
            "seed": 7,
            "pipeline": "tiny",
            "warnings": ("Unknown word: chartreuse",),
            "started_at": NOW - timedelta(seconds=10),
            "finished_at": NOW - timedelta(seconds=8),
        }
    )

    lines = describe_lines(told, status, NOW)

    asked = NOW.astimezone()
    assert lines[0] == "Name      ring-c"
    assert f"Asked     {asked - timedelta(seconds=12):%Y-%m-%d %H:%M:%S} (12s ago)" in lines
    start = lines.index("Resolved to:")
    assert lines[start:] == [
        "Resolved to:",
        "  Runner    diffusion-tiny",
        "  Pipeline  tiny",
        "  Seed      7",
        "  Attempt   1",
        "  Worker    w-1",
        "Parameters:",
        "  prompt  a small green ring",
        "What happened:",
        f"  {asked - timedelta(seconds=12):%Y-%m-%d %H:%M:%S}  asked",
        f"  {asked - timedelta(seconds=12):%Y-%m-%d %H:%M:%S}  Accepted True Resolved     on diffusion-tiny",
        f"  {asked - timedelta(seconds=10):%Y-%m-%d %H:%M:%S}  attempt 1 started",
        f"  {asked - timedelta(seconds=8):%Y-%m-%d %H:%M:%S}  Finished True OutOfMemory",
        "Cost:",
        "  Took  2s",
        "Failure:",
        "  Reason      OutOfMemory (fault: function)",
        "  What        The model needs 24 GB.",
        '  What to do  Ask for quality "draft".',
        "  Last lines  loading",
        "              killed",
        "Warnings:",
        "  1.  Unknown word: chartreuse",
    ]
