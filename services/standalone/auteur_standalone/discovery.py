"""Runners that are found without being registered: those installed beside the platform, and in a checkout those of
`images/runners/` whose environment was made.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from auteur_client.home import is_checkout
from auteur_contracts.errors import InvalidRequest
from auteur_contracts.resources import FunctionRunner
from auteur_kit.private import for_strangers
from auteur_lifecycle.capabilities import check_runner
from auteur_standalone import processes, registration
from auteur_standalone.layout import Layout
from auteur_standalone.registration import Launch, Origin, Registered, Unreadable
from auteur_standalone.settings import Settings

_SECONDS = 120.0
"""A first import on a cold disk takes its time."""
_NICE = 5
"""Whoever is asked stands back behind what is started meanwhile."""
_CALL = ("-m", "auteur_runner")
_ERROR = "error: "


def environments(settings: Settings, layout: Layout) -> tuple[str, ...]:
    """The pythons to ask: our own, and those of the folder that the settings name; else, in a checkout, one for each
    folder of `images/runners/` that has an environment.
    """
    folder, checkout = settings.standalone.environments, layout.root.parent
    if folder is not None:
        pythons = sorted(folder.glob("*/bin/python"))
    elif is_checkout(checkout):
        names = sorted(path.parent.name for path in (checkout / "images" / "runners").glob("*/pyproject.toml"))
        pythons = [layout.environments / name / "bin" / "python" for name in names]
    else:
        pythons = []
    return (sys.executable, *(str(python) for python in pythons if python.exists()))


async def ask(python: str, *words: str, directory: Path | None = None) -> str:
    """What `python -m auteur_runner …` prints. Raises InvalidRequest with its last words."""
    try:
        process = await asyncio.create_subprocess_exec(
            python,
            *_CALL,
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=for_strangers(os.environ),
            preexec_fn=processes.lowered(_NICE),
        )
    except OSError as error:
        raise InvalidRequest(f"{python} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(_SECONDS):
            told, complained = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise InvalidRequest(f"{python} did not answer in {_SECONDS:.0f} s") from error
        raise
    if process.returncode:
        raise InvalidRequest(_complaint(python, complained.decode(errors="replace")))
    return told.decode()


def _complaint(python: str, text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1].removeprefix(_ERROR) if lines else "no reason given"
    if last.endswith("No module named auteur_runner"):
        return f"{python} has no auteur in its environment; install it there: {python} -m pip install auteur"
    return last


async def installed(python: str) -> dict[str, str]:
    """Name → target of the runners that packages of this environment offer."""
    lines = (line.split(maxsplit=1) for line in (await ask(python, "installed")).splitlines())
    return {line[0]: line[1] for line in lines if len(line) == 2}


async def describe(launch: Launch) -> FunctionRunner:
    """The runner as its own environment describes it. Raises InvalidRequest."""
    return _read(launch, await ask(launch.python, "describe", launch.target, directory=launch.directory))


def _read(launch: Launch, text: str) -> FunctionRunner:
    try:
        described = FunctionRunner.model_validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(
            f"{launch.python} describes {launch.target} in a way that this version of Auteur does not understand: "
            f"{error.errors(include_url=False)[0]['msg']}",
            hint="install the same version of auteur in both environments",
        ) from error
    check_runner(described)
    return described


@dataclass(frozen=True)
class Found:
    entries: tuple[Registered, ...]
    failed: tuple[Unreadable, ...]


async def discover(pythons: Sequence[str]) -> Found:
    """Asks all environments at once. One that fails is reported and does not affect the others."""
    answers = await asyncio.gather(*(_discover_in(python) for python in pythons))
    entries = {entry.name: entry for found in reversed(answers) for entry in found.entries}
    return Found(tuple(entries.values()), tuple(failed for found in answers for failed in found.failed))


async def _discover_in(python: str) -> Found:
    """One process for all runners of an environment: each start of a Python delays the first picture."""
    try:
        told = await ask(python, "installed", "--describe")
    except InvalidRequest as error:
        return Found((), (Unreadable(Path(python).parent.parent.name, error.message),))
    lines = (line.split(maxsplit=2) for line in told.splitlines())
    answers = [_one(name, Launch(python, target), text) for name, target, text in lines]
    return Found(
        tuple(answer for answer in answers if isinstance(answer, Registered)),
        tuple(answer for answer in answers if isinstance(answer, Unreadable)),
    )


def _one(name: str, launch: Launch, text: str) -> Registered | Unreadable:
    if text.startswith(_ERROR):
        return Unreadable(name, text.removeprefix(_ERROR))
    try:
        return registration.registered(_read(launch, text), launch, Origin.FOUND)
    except InvalidRequest as error:
        return Unreadable(name, error.message)


def register_found(layout: Layout, found: Found) -> tuple[Unreadable, ...]:
    """Registers what was found and forgets what was found once and is no more. What a person added stays as it is.
    Returns what could not be registered, for instance on a full disk."""
    known = {entry.name: entry for entry in registration.read_all(layout)[0]}
    now = {entry.name for entry in found.entries}
    unsure = bool(found.failed)  # an environment that did not answer may still hold what is missing
    failed: list[Unreadable] = []
    for entry in found.entries:
        if entry.name not in known or known[entry.name].origin is Origin.FOUND:
            try:
                registration.write(layout, entry)
            except OSError as error:
                failed.append(Unreadable(entry.name, f"it cannot be registered: {error.strerror}"))
    for entry in known.values():
        if entry.origin is Origin.FOUND and entry.name not in now and (not unsure or _gone(entry)):
            layout.runner(entry.name).unlink(missing_ok=True)
    return tuple(failed)


def _gone(entry: Registered) -> bool:
    return not Path(entry.launch.python).exists()
