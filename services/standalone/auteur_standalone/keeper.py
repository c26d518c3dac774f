"""Keeps one part alive: starts it, waits until it answers, starts it again when it died, stops it when told."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable

from auteur_kit.logs import get_logger
from auteur_standalone import logfiles
from auteur_standalone.layout import Layout
from auteur_standalone.processes import die_with_parent, kill_group, lowered, write_pid_file
from auteur_standalone.restarts import Run, is_failing, restart_delay
from auteur_standalone.stack import GRACE, Part
from auteur_standalone.state import PartReport, PartState

log = get_logger()

_TAIL_LINES = 8
_HISTORY = 20
_READY_PAUSE = 0.02
_UP_WITHOUT_PROBE = 10.0
"""Seconds after which a part without a probe counts as having come up."""

Probe = Callable[[], Awaitable[bool]]


class Keeper:
    """Supervises one part. `report` is its state; `changed` is called whenever that changes."""

    def __init__(self, part: Part, layout: Layout, probe: Probe | None, changed: Callable[[], None]) -> None:
        self.part = part
        self.ready = asyncio.Event()
        self.report = PartReport(name=part.name, state=PartState.WAITING, address=part.address)
        self._layout = layout
        self._probe = probe
        self._changed = changed
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._history: list[Run] = []

    def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.part.name}")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL at the end of its grace. May be called again while it goes on."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})  # a caller that is cancelled does not cancel the stopping

    def restart(self) -> None:
        """Asks the process to end; as after any exit, it is then started again."""
        if self.report.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.report.pid, signal.SIGTERM)

    async def _supervise(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                reason = await self._run_once()
            except Exception as error:  # whatever it is, nothing else would start this part again
                log.exception("supervising a part failed", part=self.part.name)
                reason = f"could not be supervised: {error}"
            was_ready = self._came_up(time.monotonic() - started)
            self.ready.clear()
            if self._stopping.is_set():
                break
            self._history = [*self._history[-_HISTORY:], Run(started, time.monotonic(), was_ready)]
            self._report_exit(reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(restart_delay(self._history)):
                    await self._stopping.wait()
        self._report(state=PartState.STOPPED, pid=0)

    def _came_up(self, lived: float) -> bool:
        return self.ready.is_set() if self._probe is not None else lived > _UP_WITHOUT_PROBE

    async def _run_once(self) -> str:
        """Starts the process and waits for its exit; returns how it ended."""
        try:
            process = await self._spawn()
        except OSError as error:
            return f"cannot be started: {error}"
        path = self._layout.process(self.part.name)
        try:
            write_pid_file(path, process.pid)
        except OSError as error:  # a full disk: it runs all the same, and dies with us
            log.warning("pid file not written", part=self.part.name, why=str(error))
        self._report(state=PartState.STARTING, pid=process.pid, since=time.time())
        becoming_ready = asyncio.create_task(self._become_ready())
        try:
            code = await self._wait_for_exit(process)
        finally:
            becoming_ready.cancel()
            # Whatever it started in its group goes with it: a next life must not meet it on its port.
            kill_group(process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return _describe_exit(code)

    async def _wait_for_exit(self, process: asyncio.subprocess.Process) -> int:
        """Waits until the process exits by itself, or stops it: `stop` may have been called before there was a
        process."""
        exited = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({exited, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await asyncio.wait({exited}, timeout=GRACE[self.part.kind])
            if not exited.done():
                log.warning("part killed after its grace period", part=self.part.name)
                kill_group(process.pid, signal.SIGKILL)
            return await exited
        finally:
            stopping.cancel()
            exited.cancel()

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
                preexec_fn=lowered(self.part.nice, then=die_with_parent()),
            )

    async def _become_ready(self) -> None:
        while self._probe is not None and not await self._probe():  # noqa: ASYNC110  # another process has no event
            await asyncio.sleep(_READY_PAUSE)
        self.ready.set()
        self._report(state=PartState.RUNNING, message="")

    def _report_exit(self, reason: str) -> None:
        failing = is_failing(self._history)
        words = "\n".join(logfiles.tail(self._layout.log(self.part.name), _TAIL_LINES)) if failing else ""
        log.warning("part exited", part=self.part.name, reason=reason, failing=failing)
        self._report(
            state=PartState.FAILING if failing else PartState.RESTARTING,
            pid=0,
            restarts=self.report.restarts + 1,
            message=f"{reason}\n{words}".strip(),
        )

    def _report(self, **what: object) -> None:
        self.report = self.report.model_copy(update=what)
        self._changed()


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"
