"""`auteur exec`: one part of the running stack in this terminal, or another command in that part's environment.

For people who work on one program: that one runs in front of them, the rest under the supervisor.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import urlsplit

from auteur_contracts.errors import Conflict, NotFound
from auteur_kit.settings import read_settings
from auteur_standalone import config as configs
from auteur_standalone import launcher, registration, stack, state
from auteur_standalone.environment import PartKind
from auteur_standalone.layout import Layout
from auteur_standalone.settings import Settings
from auteur_standalone.stack import Machine, Part
from auteur_standalone.state import StackState

_HINT = "auteur up --services"


def execute(layout: Layout, name: str, command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """This process becomes the part, or the command. Raises NotFound, Conflict, InvalidRequest."""
    now = state.read(layout.state) if launcher.runs(layout) else None
    config = configs.load(layout.config)
    if now is None or config is None:
        raise NotFound("nothing is running on this machine", hint=_HINT)
    port = urlsplit(now.url).port or config.ports.gateway
    machine = Machine(configs.with_gateway_port(config, port), layout, read_settings(Settings), environ)
    part = choose(machine, layout, name)
    if not command:
        check_free(part, now)
        os.chdir(part.cwd)
    argv = list(command or part.argv)
    try:
        os.execvpe(argv[0], argv, dict(part.env))  # noqa: S606  # what the user named is what runs
    except OSError as error:
        raise NotFound(f"{argv[0]} cannot be started: {error.strerror}", hint="auteur exec PART [COMMAND …]") from error


def choose(machine: Machine, layout: Layout, name: str) -> Part:
    """A part by its name; a runner also by its own."""
    entries, _ = registration.read_all(layout)
    workers = {f"runner-{entry.name}": stack.extra_agent(machine, entry) for entry in entries}
    parts = {part.name: part for part in stack.programs(machine)} | workers
    found = parts.get(name) or parts.get(f"runner-{name}")
    if found is None:
        raise NotFound(f'no part called "{name}" can run in a terminal', hint=f"there is: {', '.join(parts)}")
    return found


def check_free(part: Part, now: StackState) -> None:
    """A second gateway or engine would fight over port and database; workers are as many as one likes."""
    running = now.part(part.name)
    if part.kind is not PartKind.AGENT and running is not None and running.pid:
        raise Conflict(
            f"{part.name} runs already, under the supervisor (pid {running.pid})", hint=f"auteur down, then {_HINT}"
        )
