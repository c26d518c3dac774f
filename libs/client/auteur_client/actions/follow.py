"""watch, logs, and waiting: the event stream moves the bars; polls correct them, and replace the stream while it is
away."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.live import Live

from auteur_client.actions.session import connect, job_name
from auteur_client.actions.show import save_outputs
from auteur_client.board import Board, exit_code_of
from auteur_client.client import Client, JobFilter
from auteur_client.errors import FinishTimeout
from auteur_client.exit_codes import ExitCode
from auteur_client.live import live_table
from auteur_client.render import ending_line, failure_text, moment_line
from auteur_client.stream import EventStream
from auteur_client.terminal import complain, note, say, screen
from auteur_contracts.errors import AuteurError, Unavailable
from auteur_contracts.vocabulary import ApiStatus
from auteur_contracts.web.http import GenerationReply
from auteur_contracts.web.socket import ServerMessage

FIRST_POLL_SECONDS = 0.2
"""Soon, for what happened between the first look and the subscription."""
POLL_SECONDS = 1.0
POLL_SECONDS_PER_JOB = 0.05
"""Many jobs are polled less often, so that watching costs a server at most some twenty requests a second."""
AWAY_SECONDS = 30.0
"""How long a server may be away before a watch gives up."""
REFRESHES_PER_SECOND = 8

Show = Callable[[Board], None]


def watch(
    names: Sequence[str], project: str | None, timeout: float | None, folder: Path | None, server: str | None
) -> ExitCode:
    with connect(server) as client:
        if names:
            board = Board(tuple(client.get(job_name(name)) for name in names))
        else:
            board = Board(_unfinished(client, project))
        if not board.jobs:
            note("no job is waiting or running; see what there was: auteur get")
            return ExitCode.OK
        return finish(client, show_until_finished(client, board, timeout), folder)


def _unfinished(client: Client, project: str | None) -> tuple[GenerationReply, ...]:
    """Queued ones first: a job that moves on between the two questions is in both answers then, not in none."""
    found = {
        job.job_id: job
        for status in (ApiStatus.QUEUED, ApiStatus.RUNNING)
        for job in client.jobs(JobFilter(project=project, status=status))
    }
    return tuple(job for job in found.values() if not job.status.finished)


def finish(client: Client, board: Board, folder: Path | None, *, quiet: bool = False) -> ExitCode:
    """The last words on jobs that have ended: files saved, failures explained, one exit code."""
    for job in board.jobs:
        if job.status is ApiStatus.DONE and folder is not None:
            save_outputs(client, job, folder, quiet=quiet)
        elif job.status is ApiStatus.FAILED:
            complain(f"{job.job_id} failed: {failure_text(job)}", job.error.remedy if job.error else "")
            for line in job.error.log_tail if job.error else ():
                note(f"  {line}", style="dim")
        elif not quiet:
            say(ending_line(job))
        for warning in job.warnings:
            note(f"warning: {job.job_id}: {warning}", style="yellow")
    return exit_code_of(job.status for job in board.jobs)


def show_until_finished(client: Client, board: Board, timeout: float | None) -> Board:
    drawn = screen()
    if not drawn.is_terminal:
        return wait(client, board, timeout, show_lines())
    with Live(console=drawn, refresh_per_second=REFRESHES_PER_SECOND, vertical_overflow="ellipsis") as live:

        def show(now: Board) -> None:
            live.update(live_table(now.jobs, datetime.now(UTC), drawn.width))

        show(board)
        return wait(client, board, timeout, show)


def show_lines() -> Show:
    """A line whenever a job comes to another phase: what a log file can use."""
    told: dict[str, tuple[str, str]] = {}

    def show(board: Board) -> None:
        for job in board.jobs:
            moment = (job.phase, job.progress.phase if job.status is ApiStatus.RUNNING else "")
            if told.get(job.job_id) != moment:
                told[job.job_id] = moment
                say(moment_line(job))

    return show


def wait(client: Client, board: Board, timeout: float | None, show: Show = lambda _: None) -> Board:
    """Until every job of the board has finished. The timeout, or Ctrl-C, ends the waiting and not the jobs."""
    ends = float("inf") if timeout is None else time.monotonic() + timeout
    inbox: queue.SimpleQueue[ServerMessage] = queue.SimpleQueue()
    latest = board
    try:
        with _subscribed(client, board.projects, inbox):
            show(board)
            for latest in _updates(client, board, inbox, ends):
                show(latest)
    except KeyboardInterrupt:
        note(f"interrupted; the jobs go on. To stop them: auteur cancel {' '.join(latest.unfinished)}")
        raise
    if not latest.finished:
        raise FinishTimeout(f"{', '.join(latest.unfinished)} did not finish within {timeout:g} s")
    return latest


def _updates(client: Client, board: Board, inbox: "queue.SimpleQueue[ServerMessage]", ends: float) -> Iterator[Board]:
    """The board after each message and each poll. A server that is away for a while is waited for: it restarts."""
    poll_at = time.monotonic() + FIRST_POLL_SECONDS
    answered_at = time.monotonic()
    while not board.finished and (now := time.monotonic()) < ends:
        try:
            if now >= poll_at:
                poll_at = now + max(POLL_SECONDS, POLL_SECONDS_PER_JOB * len(board.unfinished))
                board = _poll(client, board, board.unfinished)
                answered_at = now
            else:
                board = _receive(client, board, inbox, min(poll_at, ends) - now)
        except Unavailable:
            if time.monotonic() - answered_at > AWAY_SECONDS:
                raise
        yield board


def _poll(client: Client, board: Board, names: Sequence[str]) -> Board:
    for name in names:
        board = board.with_job(client.get(name))
    return board


def _receive(client: Client, board: Board, inbox: "queue.SimpleQueue[ServerMessage]", seconds: float) -> Board:
    try:
        message = inbox.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        return board
    board = board.with_message(message)
    return _poll(client, board, board.to_poll(message))


@contextmanager
def _subscribed(client: Client, projects: Sequence[str], inbox: "queue.SimpleQueue[ServerMessage]") -> Iterator[None]:
    streams = [client.watch(project) for project in projects]
    readers = [threading.Thread(target=_read_stream, args=(stream, inbox), daemon=True) for stream in streams]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        for stream in streams:
            stream.close()
        for reader in readers:
            reader.join(timeout=2.0)


def _read_stream(stream: EventStream[ServerMessage], inbox: "queue.SimpleQueue[ServerMessage]") -> None:
    try:
        for message in stream:
            inbox.put(message)
    except AuteurError:
        return  # polls carry on; they also say what is wrong


def logs(name: str, *, follow: bool, server: str | None) -> ExitCode:
    styles = {"warning": "yellow", "error": "red", "debug": "dim"}
    with connect(server) as client:
        for line in client.logs(job_name(name), follow_on=follow):
            say(line.line, style=styles.get(line.level, ""))
    return ExitCode.OK


def current(client: Client, names: Sequence[str]) -> tuple[GenerationReply, ...]:
    return tuple(client.get(name) for name in names)
