"""How jobs look as text: table rows, one screen of everything. Pure: values in, lines out; no terminal here."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urljoin

from auteur_client.table import Table
from auteur_contracts.cells import bytes_cell, money_cell, percent_cell, seconds_cell
from auteur_contracts.quantities import format_duration
from auteur_contracts.resources import Condition, GenerationJobStatus
from auteur_contracts.vocabulary import ApiStatus, ConditionType
from auteur_contracts.web.http import FailureReply, FunctionReply, GenerationReply, OutputReply, ProgressReply

COLUMNS = ("NAME", "FUNCTION", "QUALITY", "RUNNER", "PHASE", "PROGRESS", "POSITION", "ETA", "COST", "AGE")
WIDE_COLUMNS = (*COLUMNS, "PROJECT", "ATTEMPT", "SEED", "PIPELINE", "NODE", "MESSAGE")


# Small pieces


def fraction_of(job: GenerationReply) -> float | None:
    """How far a job is, from 0 to 1; None before it runs, and where it came to nothing."""
    if job.status in (ApiStatus.QUEUED, ApiStatus.CANCELLED):
        return None
    if job.status is ApiStatus.FAILED and not job.progress.progress:
        return None
    return 1.0 if job.status is ApiStatus.DONE else job.progress.progress


def progress_cell(job: GenerationReply, *, live: bool = False) -> str:
    """Where a job is, in the steps the function counts or in percent; beside a live bar, what it does before it counts
    steps."""
    fraction = fraction_of(job)
    if fraction is None:
        return ""
    doing = (job.progress.message or job.progress.phase) if live and fraction < 1 else ""
    return _steps(job.progress, fraction) or doing or percent_cell(fraction)


def _steps(told: ProgressReply, fraction: float) -> str:
    return f"{told.step}/{told.steps}" if told.step is not None and told.steps is not None and fraction < 1 else ""


def age_cell(since: datetime, now: datetime) -> str:
    return seconds_cell(float(int(max((now - since).total_seconds(), 0.0)))).replace(".0s", "s")


def eta_cell(job: GenerationReply) -> str:
    if job.status is ApiStatus.RUNNING:
        return seconds_cell(job.progress.eta_seconds)
    return seconds_cell(job.queue_eta_seconds) if job.status is ApiStatus.QUEUED else ""


# The table


def job_table(jobs: Sequence[GenerationReply], now: datetime, *, wide: bool = False, live: bool = False) -> Table:
    return Table(
        columns=WIDE_COLUMNS if wide else COLUMNS,
        rows=tuple((*_row(job, now, live=live), *(_wide_row(job) if wide else ())) for job in jobs),
    )


def _row(job: GenerationReply, now: datetime, *, live: bool) -> tuple[str, ...]:
    return (
        job.job_id,
        job.function,
        job.quality,
        job.runner or "",
        job.phase,
        progress_cell(job, live=live),
        str(job.queue_position or ""),
        eta_cell(job),
        money_cell(job.cost_usd),
        age_cell(job.created_at, now),
    )


def _wide_row(job: GenerationReply) -> tuple[str, ...]:
    return (
        job.project,
        str(job.attempt),
        "" if job.seed is None else str(job.seed),
        job.pipeline or "",
        job.node_id or "",
        " ".join(job.message.split()),
    )


def output_table(outputs: Sequence[OutputReply]) -> Table:
    return Table(
        columns=("NAME", "TYPE", "SIZE", "MEASURES", "SHA256", "URL"),
        rows=tuple(
            (out.name, out.media_type, bytes_cell(out.bytes), measures(out), out.sha256[:12], out.url)
            for out in outputs
        ),
    )


def measures(out: OutputReply) -> str:
    pixels = f"{out.width}×{out.height}" if out.width and out.height else ""
    playing = "" if out.seconds is None else f"{out.seconds:.1f}s"
    return " ".join(part for part in (pixels, playing) if part)


def function_table(functions: Sequence[FunctionReply]) -> Table:
    return Table(
        columns=("FUNCTION", "RUNNER", "READY", "QUALITIES", "DESCRIPTION"),
        rows=tuple(
            (
                entry.name,
                entry.runner,
                "yes" if entry.ready else "no",
                ",".join(tier.quality for tier in entry.tiers if tier.ready),
                entry.description if entry.ready else entry.message,
            )
            for entry in functions
        ),
    )


# Sentences


def absolute(out: OutputReply, base_url: str) -> OutputReply:
    """With an address that can be pasted into a browser."""
    return out.model_copy(update={"url": urljoin(f"{base_url}/", out.url)})


def ending_line(job: GenerationReply) -> str:
    """How a finished job ended, in one line."""
    match job.status:
        case ApiStatus.DONE:
            files = ", ".join(f"{out.name} {measures(out)}".strip() for out in job.outputs) or "no outputs"
            facts = [files, "" if job.seed is None else f"seed {job.seed}", money_cell(job.cost_usd)]
            return f"✓ {job.job_id}  " + "  ".join(fact for fact in facts if fact)
        case ApiStatus.FAILED:
            return f"✗ {job.job_id}  {failure_text(job)}"
        case ApiStatus.CANCELLED:
            return f"✗ {job.job_id}  cancelled{f' by {job.cancelled_by}' if job.cancelled_by else ''}"
        case _:
            return f"  {job.job_id}  {job.phase}"


def failure_text(job: GenerationReply) -> str:
    return job.error.message if job.error else job.message or "failed"


def saved_line(path: str, out: OutputReply, job: GenerationReply) -> str:
    facts = [
        path,
        measures(out),
        "" if job.seed is None else f"seed {job.seed}",
        f"sha256 {out.sha256[:4]}…",
        money_cell(job.cost_usd),
    ]
    return "✓ " + "   ".join(fact for fact in facts if fact)


def moment_line(job: GenerationReply) -> str:
    """Where a job is now, for a log that is read later: no bars, no position that changes all the time."""
    told = job.progress
    doing = told.phase if job.status is ApiStatus.RUNNING else ""
    return "  ".join(part for part in (job.job_id, job.phase, doing, progress_cell(job)) if part)


def saved_name(job: GenerationReply, out: OutputReply) -> str:
    """`demo-1.png` for a job's only file; `demo-1-mask.png` where there are several."""
    suffix = f".{out.name.rpartition('.')[2]}" if "." in out.name else ""
    return f"{job.job_id}{suffix}" if len(job.outputs) == 1 else f"{job.job_id}-{out.name}"


# One screen of everything


def describe_lines(job: GenerationReply, status: GenerationJobStatus | None, now: datetime) -> list[str]:
    """`status` is the resource's own, with its conditions; None where only the archive is left."""
    return [
        *_section("", _request_facts(job, now)),
        *_section("Resolved to", _resolved(job, status)),
        *_section("Parameters", [(name, _value(value)) for name, value in job.params.items()]),
        *_section("What happened", _history(job, status)),
        *_section("Made", [(out.name, _made(out)) for out in job.outputs]),
        *_section("Cost", _cost(job)),
        *_section("Failure", _failure(job.error)),
        *_section("Warnings", [(f"{number}.", text) for number, text in enumerate(job.warnings, 1)]),
    ]


Facts = Sequence[tuple[str, str]]


def _section(title: str, facts: Facts) -> list[str]:
    told = [(label, text) for label, text in facts if text]
    if not told:
        return []
    width = max(len(label) for label, _ in told) + 2
    indent = "  " if title else ""
    lines = [f"{indent}{label:<{width}}{line}" for label, text in told for label, line in _continued(label, text)]
    return [f"{title}:", *lines] if title else lines


def _continued(label: str, text: str) -> list[tuple[str, str]]:
    first, *more = text.splitlines() or [""]
    return [(label, first), *(("", line) for line in more)]


def _request_facts(job: GenerationReply, now: datetime) -> Facts:
    return [
        ("Name", job.job_id),
        ("Function", job.function),
        ("Quality", job.quality),
        ("Project", job.project),
        ("Node", job.node_id or ""),
        ("Priority", job.priority),
        ("Retry of", job.retry_of or ""),
        ("Asked", f"{_clock(job.created_at)} ({age_cell(job.created_at, now)} ago)"),
        ("Phase", " ".join(part for part in (job.phase, progress_cell(job)) if part)),
        ("Why", job.message),
        ("Queue", _queue(job)),
        ("Cancelled by", job.cancelled_by or ""),
    ]


def _queue(job: GenerationReply) -> str:
    if job.queue_position is None:
        return ""
    eta = f", about {seconds_cell(job.queue_eta_seconds)}" if job.queue_eta_seconds is not None else ""
    return f"position {job.queue_position}{eta}"


def _resolved(job: GenerationReply, status: GenerationJobStatus | None) -> Facts:
    tier = status.plan.tier if status and status.plan else None
    return [
        ("Runner", job.runner or ""),
        ("Pipeline", job.pipeline or ""),
        ("Seed", "" if job.seed is None else str(job.seed)),
        ("Memory", f"{tier.vram_gigabytes:g} GB of GPU memory" if tier and tier.vram_gigabytes else ""),
        ("Optimizations", ", ".join(tier.optimizations) if tier else ""),
        ("Threads", str(tier.threads) if tier and tier.threads else ""),
        ("Attempt", str(job.attempt) if job.attempt else ""),
        ("Worker", status.worker if status else ""),
        ("Plan", status.plan.digest if status and status.plan else ""),
    ]


def _history(job: GenerationReply, status: GenerationJobStatus | None) -> Facts:
    """The conditions in the order they came to hold, between when it was asked and started. That a finished job no
    longer runs goes without saying."""
    over = (ConditionType.DISPATCHED, ConditionType.RUNNING) if job.status.finished else ()
    conditions = [one for one in (status.conditions if status else ()) if one.type not in over]
    width = max((len(_condition(one)) for one in conditions), default=0)
    moments = [
        (job.created_at, "asked"),
        *((one.last_transition_time, f"{_condition(one):<{width}}  {one.message}") for one in conditions),
    ]
    if job.started_at:
        moments.append((job.started_at, f"attempt {job.attempt} started"))
    if job.finished_at and not conditions:
        moments.append((job.finished_at, job.status))
    return [(_clock(moment), " ".join(text.splitlines()).rstrip()) for moment, text in sorted(moments, key=_moment)]


def _condition(condition: Condition) -> str:
    return f"{condition.type} {condition.status} {condition.reason}"


def _moment(fact: tuple[datetime, str]) -> datetime:
    return fact[0]


def _made(out: OutputReply) -> str:
    facts = (out.media_type, bytes_cell(out.bytes), measures(out), f"sha256 {out.sha256}")
    return "  ".join(fact for fact in facts if fact) + f"\n{out.url}"


def _cost(job: GenerationReply) -> Facts:
    took = None
    if job.started_at and job.finished_at:
        took = job.finished_at - job.started_at
    return [
        ("Price", money_cell(job.cost_usd)),
        ("GPU time", f"{job.gpu_seconds:.2f} s" if job.gpu_seconds else ""),
        ("Took", format_duration(max(took, timedelta())) if took is not None else ""),
    ]


def _failure(failure: FailureReply | None) -> Facts:
    if failure is None:
        return []
    return [
        ("Reason", f"{failure.reason} (fault: {failure.fault})"),
        ("What", failure.message),
        ("What to do", failure.remedy),
        ("Last lines", "\n".join(failure.log_tail)),
    ]


def _clock(moment: datetime) -> str:
    """The reader's own time zone: that is the clock on their wall."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else str(value)
