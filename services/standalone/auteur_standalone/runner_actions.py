"""What `auteur runners …` does: add, list and remove. Each returns an exit code."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

from auteur_client.exit_codes import ExitCode
from auteur_client.table import Table
from auteur_client.terminal import complain, note, say, say_json, say_table
from auteur_contracts.errors import InvalidRequest, NotFound
from auteur_standalone import discovery, launcher, layout, registration, state
from auteur_standalone.registration import Launch, Origin, Registered
from auteur_standalone.stack import agent_names
from auteur_standalone.state import StackState


def add(python: str, target: str | None, *, workers: int | None) -> int:
    """Raises InvalidRequest when the runner cannot be described."""
    here = layout.here()
    launcher.make(here)
    interpreter = absolute(python)
    entries = _describe_all(interpreter, target, workers)
    for entry in entries:
        registration.write(here, entry)
        offers = ", ".join(function.name for function in entry.runner.spec.functions)
        say(f"runner {entry.name} is registered: {offers}")
    if not launcher.runs(here):
        note("it serves as soon as the stack runs: auteur up")
    elif not launcher.wait_until_known(here, tuple(entry.name for entry in entries)):
        note("the stack has not taken it in yet: auteur status", style="yellow")
    return ExitCode.OK


def absolute(python: str) -> str:
    """Not resolved: an environment's python is a link, and what it links to is another environment."""
    path = Path(os.path.abspath(Path(python).expanduser()))  # noqa: PTH100  # resolve() would follow the link
    if not os.access(path, os.X_OK) or path.is_dir():
        raise InvalidRequest(f"{python} is not a python that can be started", hint="for instance ./.venv/bin/python")
    return str(path)


def _describe_all(python: str, target: str | None, workers: int | None) -> list[Registered]:
    at = datetime.now(UTC).isoformat()

    async def one(launch: Launch) -> Registered:
        described = await discovery.describe(launch)
        return registration.registered(described, launch, Origin.ADDED, workers=workers, at=at)

    async def ask() -> list[Registered]:
        if target is not None:
            return [await one(Launch(python, target, Path.cwd()))]
        return [await one(Launch(python, found)) for found in (await discovery.installed(python)).values()]

    entries = asyncio.run(ask())
    if not entries:
        raise InvalidRequest(
            f"no package in the environment of {python} offers a runner",
            hint="name one: auteur runners add PYTHON module:Class",
        )
    return entries


def list_(*, as_json: bool) -> int:
    here = layout.here()
    entries, unreadable = registration.read_all(here)
    if as_json:
        say_json([entry.runner.model_dump(mode="json", by_alias=True, exclude={"status"}) for entry in entries])
        return ExitCode.OK
    now = state.read(here.state) if launcher.runs(here) else None
    rows = tuple(
        (
            entry.name,
            ", ".join(function.name for function in entry.runner.spec.functions),
            str(entry.runner.spec.workers),
            entry.origin.value,
            _runner_state(entry, now),
            f"{entry.launch.python} {entry.launch.target}",
        )
        for entry in entries
    )
    if rows:
        say_table(Table(("NAME", "FUNCTIONS", "WORKERS", "ORIGIN", "STATE", "STARTED AS"), rows))
    else:
        say("no runner is registered; add one with: auteur runners add PYTHON module:Class")
    for one in unreadable:
        complain(f"runner {one.name} cannot be read: {one.why}", f"auteur runners remove {one.name}")
    return ExitCode.OK


def _runner_state(entry: Registered, now: StackState | None) -> str:
    """Of its first worker's process; whether its model is loaded the catalogue knows (auteur functions)."""
    if now is None:
        return ""
    name = f"runner-{agent_names(entry.name, entry.runner.spec.workers)[0]}"
    part = now.part(name)
    return part.state.value if part is not None else "not on this machine"


def remove(name: str) -> int:
    here = layout.here()
    registered = {path.stem: path for path in sorted(here.runners.glob("*.json"))}
    path = registered.get(name)  # a name that is listed; joined to a path, "../config" would be another file
    if path is None:
        known = ", ".join(registered) or "none"
        raise NotFound(f'no runner called "{name}" is registered', hint=f"there is: {known}")
    try:
        found = registration.parse(path.read_bytes()).origin is Origin.FOUND
    except (OSError, ValueError):  # what cannot be read can be removed
        found = False
    path.unlink(missing_ok=True)
    say(f"runner {name} is removed")
    if found:
        note("it is installed beside the platform: the next auteur up finds it again, unless its package is removed")
    return ExitCode.OK
