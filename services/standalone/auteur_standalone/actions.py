"""What the commands of this package do: up, down, status and server-logs. Each returns an exit code.

What registers runners is apart (`runner_actions`): its imports would delay every `auteur up`.
"""

import json
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.live import Live
from rich.text import Text

from auteur_client.exit_codes import ExitCode
from auteur_client.table import Table
from auteur_client.terminal import complain, console, note, say, say_json, say_table
from auteur_contracts.cells import bytes_cell, seconds_cell
from auteur_contracts.errors import Conflict, NotFound
from auteur_standalone import disk, launcher, layout, logfiles, state
from auteur_standalone.disk import Usage
from auteur_standalone.launcher import Failure, StartFailed, Tick, View
from auteur_standalone.layout import Layout
from auteur_standalone.probes import get
from auteur_standalone.state import PartReport, PartState, StackState

_STYLES = {Tick.DONE: "green", Tick.WAIT: "dim", Tick.BAD: "red"}
_WAIT_SECONDS = 120.0
"""A part that does not start is noticed long before; this is for machines that are busy with other things."""
_TAIL = 20
_FOLLOW_PAUSE = 0.2


# ── up ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def up(*, foreground: bool, port: int | None, services: bool = False) -> int:
    here = layout.here()
    now = state.read(here.state) if launcher.runs(here) else None
    if now is not None and now.services_only and not services:
        raise Conflict("only the services of this stack run: " + now.url, hint="auteur down, then auteur up")
    if now is not None and launcher.takes_requests(now):
        return _joined(now, port)
    supervisor: subprocess.Popen[bytes] | None = None
    try:
        if not launcher.runs(here):
            launcher.make(here)
            supervisor = launcher.launch(here, port, stay=foreground, services=services)
        view = _follow(here, supervisor)
        if not launcher.is_ours(supervisor):
            return _joined(view.state, port)
        if foreground and supervisor is not None:
            note("Ctrl-C stops it")
            return _stay(supervisor)
    except StartFailed as failed:
        launcher.stop_if_ours(here, supervisor)
        return _explain(failed.failure)
    except KeyboardInterrupt:
        stopped = launcher.stop_if_ours(here, supervisor)
        note("stopped" if stopped else "the stack goes on: it was started by somebody else; to stop it: auteur down")
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def _joined(now: StackState, port: int | None) -> int:
    """A stack that this command did not start. It is its starter's to stop."""
    say(f"already running at {now.url}")
    _warn_of_port(now, port)
    return ExitCode.OK


def _warn_of_port(now: StackState, port: int | None) -> None:
    if port is not None and not now.url.endswith(f":{port}"):
        note(f"it listens on another port than {port}; to move it: auteur down, auteur up --port {port}")


def _follow(here: Layout, supervisor: "subprocess.Popen[bytes] | None") -> View:
    began = time.monotonic()

    def line(view: View) -> Text:
        text = Text("Starting ")
        for name, tick in launcher.ticks(view):
            text.append(f" {name} ").append(tick.value, style=_STYLES[tick]).append(" ")
        if view.ready:
            text.append(f"     {view.state.url}", style="bold").append(f"   {time.monotonic() - began:.1f} s")
        return text

    screen = console()
    if screen.is_terminal:
        with Live(console=screen, auto_refresh=False) as live:
            view = launcher.follow(here, supervisor, _WAIT_SECONDS, lambda view: live.update(line(view), refresh=True))
    else:
        view = launcher.follow(here, supervisor, _WAIT_SECONDS, lambda _: None)
        screen.print(line(view))
    for told in view.state.notes:
        note(f"note: {told}", style="yellow")
    _warn_of_disk(disk.measure(here))
    return view


def _stay(supervisor: "subprocess.Popen[bytes]") -> int:
    try:
        code = supervisor.wait()
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        return ExitCode.INTERRUPTED
    return ExitCode.OK if code == 0 else ExitCode.UNREACHABLE


def _explain(failure: Failure) -> int:
    for line in failure.log:
        note(f"  {line}", style="dim")
    complain(failure.error, failure.hint)
    return ExitCode.REFUSED if failure.refused else ExitCode.UNREACHABLE


# ── down ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def down() -> int:
    ran = launcher.stop(layout.here())
    say("stopped" if ran else "nothing is running")
    return ExitCode.OK


# ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def status(*, as_json: bool) -> int:
    here = layout.here()
    runs = launcher.runs(here)
    now = state.read(here.state) if runs else None
    usage = disk.measure(here) if here.root.is_dir() else None
    ready = now is not None and launcher.takes_requests(now)
    if as_json:
        say_json({"running": runs, "ready": ready, **_status_json(here, now, usage)})
    elif runs and now is None:
        say(f"starting; data in {here.root}")
    else:
        _say_status(here, now, usage, ready=ready)
    return ExitCode.OK if ready else ExitCode.UNREACHABLE


def _status_json(here: Layout, now: StackState | None, usage: Usage | None) -> dict[str, object]:
    return {
        "url": now.url if now else "",
        "pid": now.pid if now else None,
        "home": str(here.root),
        "parts": [part.model_dump(mode="json") for part in now.parts] if now else [],
        "notes": list(now.notes) if now else [],
        "runners": list(now.runners) if now else [],
        "disk": {"used": usage.parts, "total": usage.total, "free": usage.free, "low": usage.low} if usage else {},
    }


def _say_status(here: Layout, now: StackState | None, usage: Usage | None, *, ready: bool) -> None:
    if now is None:
        say(f"not running; data in {here.root}; start it with: auteur up")
    else:
        word = "ready" if ready else "not ready"
        say(f"{now.url}   {word}   {_jobs(now.url)}data in {here.root}")
        say_table(_parts_table(now.parts, time.time()))
        for part in now.parts:
            if part.state is PartState.FAILING:
                complain(f"{part.name} {part.message.splitlines()[0]}", f"auteur server-logs {part.name}")
        for told in now.notes:
            note(f"note: {told}", style="yellow")
    if usage is not None:
        used = ", ".join(f"{name} {bytes_cell(size)}" for name, size in usage.parts.items() if size)
        say(f"disk: {bytes_cell(usage.total)} used ({used}), {bytes_cell(usage.free)} free")
        _warn_of_disk(usage)


def _jobs(url: str) -> str:
    """Unfinished ones, where the gateway says so."""
    code, body = get(f"{url}/v1/generations?status=running&limit=100")
    with suppress(ValueError, KeyError, TypeError):
        if code == 200:
            return f"{len(json.loads(body)['items'])} jobs running   "
    return ""


def _warn_of_disk(usage: Usage) -> None:
    if usage.low:
        note(
            f"warning: {bytes_cell(usage.free)} of disk left: jobs may fail to store what they make; delete old ones "
            "with auteur delete, or move the data with AUTEUR_HOME",
            style="yellow",
        )


def _parts_table(parts: Sequence[PartReport], now: float) -> Table:
    rows = tuple(
        (
            part.name,
            part.state.value,
            str(part.pid or ""),
            seconds_cell(now - part.since) if part.pid else "",
            str(part.restarts or ""),
            part.address,
        )
        for part in parts
    )
    return Table(("PART", "STATE", "PID", "UP", "RESTARTS", "ADDRESS"), rows)


# ── server-logs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def server_logs(part: str | None, *, follow: bool, lines: int) -> int:
    here = layout.here()
    paths = {path.stem: path for path in sorted(here.logs.glob("*.log"))}
    if part is not None and (part not in paths and f"runner-{part}" in paths):
        part = f"runner-{part}"
    if part is not None and part not in paths:
        known = ", ".join(paths) or "nothing yet"
        raise NotFound(f'no part called "{part}" has a log in {here.logs}', hint=f"there is: {known}")
    chosen = {part: paths[part]} if part is not None else paths
    for name, path in chosen.items():
        for line in logfiles.tail(path, lines if part is not None else min(lines, _TAIL)):
            say(line if part is not None else f"{name:<10} {line}")
    if follow:
        _follow_logs(chosen, named=part is None)
    return ExitCode.OK


def _follow_logs(paths: dict[str, Path], *, named: bool) -> None:
    """Until Ctrl-C."""
    at = {name: path.stat().st_size for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            text, at[name] = logfiles.since(path, at[name])
            for line in text:
                say(f"{name:<10} {line}" if named else line)
        time.sleep(_FOLLOW_PAUSE)
