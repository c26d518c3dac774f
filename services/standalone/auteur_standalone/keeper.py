"""Keeps one part alive: starts it, waits until it answers, starts it again when it died, stops it when told."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable

from auteur_kit.logs import get_logger
from auteur_standalone import logfiles
from auteur_standalone.layout import Layout
from auteur_standalone.processes import die_with_parent, kill_group, remember
from auteur_standalone.restarts import Life, is_failing, restart_delay
from auteur_standalone.stack import GRACE, Part
from auteur_standalone.state import PartReport, PartState

log = get_logger()

_LAST_WORDS = 8
_MEMORY = 20
_READY_PAUSE = 0.02
_WELL_WITHOUT_PROBE = 10.0
"""Seconds after which a part that cannot be asked is taken to have come up."""

Probe = Callable[[], Awaitable[bool]]


class Keeper:
    """Of one part. `report` says how it is; `changed` is called whenever that is something else."""

    def __init__(self, part: Part, layout: Layout, probe: Probe | None, changed: Callable[[], None]) -> None:
        self.part = part
        self.ready = asyncio.Event()
        self.report = PartReport(name=part.name, state=PartState.WAITING, address=part.address)
        self._layout = layout
        self._probe = probe
        self._changed = changed
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._history: list[Life] = []

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL at the end of its grace. May be called again while it goes on."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})  # who gives up waiting does not end the stopping

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                how = await self._live()
            except Exception as error:  # whatever it is, nobody else starts this part again
                log.exception("part lost", part=self.part.name)
                how = f"could not be watched: {error}"
            was_ready = self._was_well(time.monotonic() - started)
            self.ready.clear()
            if self._stopping.is_set():
                break
            self._history = [*self._history[-_MEMORY:], Life(started, time.monotonic(), was_ready)]
            self._say_death(how)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(restart_delay(self._history)):
                    await self._stopping.wait()
        self._say(state=PartState.STOPPED, pid=0)

    def _was_well(self, lived: float) -> bool:
        return self.ready.is_set() if self._probe is not None else lived > _WELL_WITHOUT_PROBE

    async def _live(self) -> str:
        """From start to death; returns how it ended."""
        try:
            process = await self._spawn()
        except OSError as error:
            return f"cannot be started: {error}"
        path = self._layout.process(self.part.name)
        try:
            remember(path, process.pid)
        except OSError as error:  # a full disk: it runs all the same, and dies with us
            log.warning("part not remembered", part=self.part.name, why=str(error))
        self._say(state=PartState.STARTING, pid=process.pid, since=time.time())
        becoming_ready = asyncio.create_task(self._become_ready())
        try:
            code = await self._until_dead(process)
        finally:
            becoming_ready.cancel()
            # Whatever it started in its group goes with it: a next life must not meet it on its port.
            kill_group(process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return _how_it_ended(code)

    async def _until_dead(self, process: asyncio.subprocess.Process) -> int:
        """By itself, or because we stop: that may have been asked for before there was a process."""
        death = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({death, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not death.done():
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await asyncio.wait({death}, timeout=GRACE[self.part.kind])
            if not death.done():
                log.warning("part killed: it did not stop in time", part=self.part.name)
                kill_group(process.pid, signal.SIGKILL)
            return await death
        finally:
            stopping.cancel()
            death.cancel()

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self._layout.log(self.part.name).open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self.part.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.part.env),
                cwd=self.part.cwd,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    async def _become_ready(self) -> None:
        while self._probe is not None and not await self._probe():  # noqa: ASYNC110  # another process has no event
            await asyncio.sleep(_READY_PAUSE)
        self.ready.set()
        self._say(state=PartState.RUNNING, message="")

    def _say_death(self, how: str) -> None:
        failing = is_failing(self._history)
        words = "\n".join(logfiles.tail(self._layout.log(self.part.name), _LAST_WORDS)) if failing else ""
        log.warning("part died", part=self.part.name, how=how, failing=failing)
        self._say(
            state=PartState.FAILING if failing else PartState.RESTARTING,
            pid=0,
            restarts=self.report.restarts + 1,
            message=f"{how}\n{words}".strip(),
        )

    def _say(self, **what: object) -> None:
        self.report = self.report.model_copy(update=what)
        self._changed()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"
