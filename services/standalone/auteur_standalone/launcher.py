"""`auteur up` and `auteur down` as seen from outside the supervisor: start it, follow it until it is ready, stop it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from auteur_contracts.errors import InvalidRequest
from auteur_standalone import logfiles, processes, state
from auteur_standalone.exit_codes import REFUSED, SupervisorExit
from auteur_standalone.layout import Layout
from auteur_standalone.probes import get, get_ok
from auteur_standalone.state import PartState, StackState

SUPERVISOR = "supervisor"
_PAUSE = 0.05
_WORDS = 12
_UP = (PartState.RUNNING, PartState.EXTERNAL)


class Tick(StrEnum):
    DONE = "✓"
    WAIT = "…"
    BAD = "✗"


@dataclass(frozen=True)
class Failure:
    """Why the stack does not come up."""

    error: str
    hint: str
    log: tuple[str, ...] = ()
    refused: bool = False


class StartFailed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


def make(layout: Layout) -> None:
    """The folders of a stack. Raises InvalidRequest where they cannot be."""
    try:
        layout.make()
    except OSError as error:
        raise InvalidRequest(
            f"the data folder {layout.root} cannot be used: {error.strerror}", hint="name another one: AUTEUR_HOME"
        ) from error


def runs(layout: Layout) -> bool:
    return processes.is_locked(layout.lock)


def launch(layout: Layout, port: int | None, *, stay: bool, services: bool) -> "subprocess.Popen[bytes]":
    """The supervisor, in a session of its own; with `stay` it stops when this process ends. The folders are there."""
    argv = [
        *(sys.executable, "-m", "auteur_standalone"),
        *(("--port", str(port)) if port is not None else ()),
        *(("--services",) if services else ()),
    ]
    with layout.log(SUPERVISOR).open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=layout.root,  # not the caller's folder, from which `-m` would import
            env={**os.environ, "AUTEUR_HOME": str(layout.root)},
            start_new_session=True,
            preexec_fn=processes.die_with_parent(signal.SIGTERM) if stay else None,  # noqa: PLW1509  # system calls only
        )


def is_ours(supervisor: "subprocess.Popen[bytes] | None") -> bool:
    """Whether the stack is the one that we launched; another `up` may have been faster, or it ran before."""
    return supervisor is not None and supervisor.poll() != SupervisorExit.ALREADY_RUNS


@dataclass(frozen=True)
class View:
    """The stack while it starts."""

    state: StackState
    ready: bool


def follow(
    layout: Layout, supervisor: "subprocess.Popen[bytes] | None", seconds: float, show: Callable[[View], None]
) -> View:
    """Until the stack serves requests and knows its runners. Raises StartFailed."""
    deadline = time.monotonic() + seconds
    while True:
        if not is_ours(supervisor):
            supervisor = None  # we follow somebody else's
        elif supervisor is not None and (ended := supervisor.poll()) is not None:
            raise StartFailed(_why_exited(layout, ended))
        if supervisor is None and not runs(layout):
            raise StartFailed(_why_exited(layout, None))
        if (now := state.read(layout.state)) is not None and (supervisor is None or now.pid == supervisor.pid):
            view = View(now, _is_ready(now))
            show(view)
            if view.ready:
                return view
            if failure := failing(now):
                raise StartFailed(failure)
        if time.monotonic() > deadline:
            raise StartFailed(_too_slow(layout, now, seconds))
        time.sleep(_PAUSE)


def takes_requests(now: StackState) -> bool:
    """Whether the gateway says so; of a stack without gateway, whether its services run."""
    if now.services_only:
        return not now.pending and all(part.state in _UP for part in now.parts)
    return get_ok(f"{now.url}/readyz")


def _is_ready(now: StackState) -> bool:
    """Whether it takes requests, and requests can be for every registered runner."""
    if now.services_only:
        return takes_requests(now)
    gateway = now.part("gateway")
    if gateway is None or gateway.state is not PartState.RUNNING or now.pending:
        return False
    return takes_requests(now) and _knows(now.url, now.runners)


def _knows(url: str, runners: tuple[str, ...]) -> bool:
    """Whether the gateway lists these runners; without permission to list them nobody is kept waiting."""
    status, body = get(f"{url}/v1/functions")
    if status != 200:
        return status in (401, 403) or (not runners and status == 503)
    return set(runners) <= {str(item["runner"]) for item in json.loads(body)["items"]}


def wait_until_known(layout: Layout, runners: tuple[str, ...], *, seconds: float = 10.0) -> bool:
    """Until the running stack takes jobs for these runners, where it runs a gateway that can be asked."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = state.read(layout.state)
        if now is not None and (now.services_only or _knows(now.url, runners)):
            return True
        time.sleep(_PAUSE)
    return False


def ticks(view: View) -> list[tuple[str, Tick]]:
    """The mark of each part, runners under their own names. Pure."""
    return [(part.name.removeprefix("runner-"), _tick(part.name, part.state, view.ready)) for part in view.state.parts]


def _tick(name: str, how: PartState, ready: bool) -> Tick:  # noqa: FBT001
    if how is PartState.FAILING:
        return Tick.BAD
    if name == "engine":  # it has no port of its own: that requests are served says that it works
        return Tick.DONE if ready else Tick.WAIT
    return Tick.DONE if how in _UP else Tick.WAIT


def failing(now: StackState) -> Failure | None:
    """Why the stack cannot become ready. A runner that fails is shown and does not count: it hinders nothing else."""
    for part in now.parts:
        if part.state is PartState.FAILING and not part.name.startswith("runner-"):
            how, *words = part.message.splitlines()
            return Failure(f"{part.name} does not start: it {how}", f"auteur server-logs {part.name}", tuple(words))
    return None


def _why_exited(layout: Layout, code: int | None) -> Failure:
    words = logfiles.tail(layout.log(SUPERVISOR), _WORDS)
    if code == SupervisorExit.REFUSED and words and words[-1].startswith(REFUSED):
        error, _, hint = words[-1].removeprefix(REFUSED).partition("\t")
        return Failure(error, hint, refused=True)
    return Failure("the supervisor ended while the stack was starting", "auteur server-logs supervisor", tuple(words))


def _too_slow(layout: Layout, now: StackState | None, seconds: float) -> Failure:
    answer = get(f"{now.url}/readyz")[1].decode(errors="replace")[:500] if now is not None else ""
    what, log = lateness(now)
    words = (*logfiles.tail(layout.log(log), _WORDS), *((f"/readyz says: {answer}",) if answer else ()))
    return Failure(f"the stack is not ready after {seconds:.0f} s: {what}", f"auteur server-logs {log}", words)


def lateness(now: StackState | None) -> tuple[str, str]:
    """What `up` waits for, and whose log says more. Runners hinder nothing, and of somebody else's server only those
    who use it can say how it is. Pure."""
    if now is None:
        return "the supervisor is late", SUPERVISOR
    for part in now.parts:
        if not part.name.startswith("runner-") and part.state not in _UP:
            return f"{part.name} is late", part.name
    if now.pending:
        return f"it waits for {now.pending}", SUPERVISOR
    external = [part for part in now.parts if part.state is PartState.EXTERNAL]
    if external:
        servers = " and ".join(f"{part.name} at {part.address}" for part in external)
        return f"the gateway does not take requests; does {servers} answer?", "gateway"
    return "the gateway does not take requests, or the engine has not told it of all runners", "engine"


def stop_if_ours(layout: Layout, supervisor: "subprocess.Popen[bytes] | None", *, seconds: float = 15.0) -> bool:
    """Stops the stack if we launched it; False, and nothing done, where it is somebody else's."""
    if supervisor is None:
        return False
    if supervisor.poll() is None:
        supervisor.terminate()
        try:
            supervisor.wait(seconds)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
    if not is_ours(supervisor):
        return False
    with contextlib.suppress(processes.AlreadyLocked), processes.lock(layout.lock):  # another `up` may have it by now
        _clear(layout)
    return True


def stop(layout: Layout, *, seconds: float = 15.0) -> bool:
    """Returns when nothing runs any more; False when nothing ran. What does not stop in time is killed."""
    if not runs(layout):
        _clear(layout)
        return False
    pid = processes.read_pid_file(layout.process(SUPERVISOR))
    deadline = time.monotonic() + seconds
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    # Its lock is free a moment before it has ended itself.
    while (runs(layout) or (pid is not None and processes.start_time(pid))) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    _clear(layout)
    return True


def _clear(layout: Layout) -> None:
    """Kills and removes what a supervisor that was killed could not."""
    if layout.run.is_dir():
        for path in sorted(layout.run.glob("*.pid"), key=lambda path: path.stem != SUPERVISOR):
            processes.kill_leftover(path)
        layout.state.unlink(missing_ok=True)
        layout.address.unlink(missing_ok=True)
