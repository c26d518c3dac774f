"""The one process that keeps the stack: clears what a crash left, chooses ports, starts the parts in their order, keeps
them alive, follows the folder of runners, and stops everything in order.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from auteur_contracts.errors import Conflict, Unavailable
from auteur_engine.machine import fits, gpu_memory_gigabytes
from auteur_kit.logs import get_logger
from auteur_standalone import certificates, discovery, logfiles, ports, processes, registration, servers, stack, state
from auteur_standalone import config as configs
from auteur_standalone.config import Config
from auteur_standalone.environment import PartKind, nats_settings
from auteur_standalone.keeper import Keeper, Probe
from auteur_standalone.layout import Layout
from auteur_standalone.probes import nats_answers, store_answers, url_answers
from auteur_standalone.registration import Registered
from auteur_standalone.settings import Settings
from auteur_standalone.stack import Machine, Part
from auteur_standalone.state import PartReport, StackState

if TYPE_CHECKING:
    from auteur_kit.bus import Bus

log = get_logger()

_WATCH_SECONDS = 0.5
_ROTATE_SECONDS = 5.0
_NATS_SECONDS = 3.0
_ROOM_BYTES = 16 * 1024**2
"""On a disk with less, NATS would soon be where it was."""
_PORT_PATIENCE = 3.0
_SUPERVISOR = "supervisor"
_DISCOVERY = "runners' environments, to say what they offer"
_SERVICES_ONLY = "services only: run the rest in a terminal: auteur exec gateway, auteur exec RUNNER"


@dataclass(frozen=True)
class Prepared:
    machine: Machine
    notes: tuple[str, ...]


def prepare(layout: Layout, settings: Settings, environ: Mapping[str, str], asked_port: int | None) -> Prepared:
    """Under the lock, before anything starts: folders, leftovers, secrets, ports, NATS's configuration."""
    layout.make()
    # A leftover that was killed just now may hold its port for another moment; nobody else's port is waited for.
    patience = _PORT_PATIENCE if _clear_leftovers(layout) else 0.0
    known = configs.load(layout.config)
    wanted = asked_port or settings.gateway.port or (known.ports.gateway if known else configs.DEFAULT_GATEWAY_PORT)
    draw_ports = partial(ports.free_ports, among=[port for port in ports.PORTS if port != wanted])
    config = known or configs.generate(configs.draw_secret, draw_ports)
    config = configs.moved(config, lambda port: port == wanted or not _free_soon(port, patience), draw_ports)
    if asked_port is not None:
        config = configs.with_gateway_port(config, asked_port)
    configs.save(layout.config, config)
    free = _free_soon(wanted, patience, settings.gateway.host)
    port, notes = (
        (wanted, ()) if free else _other_gateway_port(settings.gateway.host, wanted, insist=asked_port is not None)
    )
    machine = Machine(configs.with_gateway_port(config, port), layout, settings, environ)
    _write_private(layout.nats_config(), stack.nats_configuration(machine))
    certificates.ensure(layout.store_certificates)
    return Prepared(machine, notes)


def _clear_leftovers(layout: Layout) -> bool:
    """Kills what a supervisor left that was killed itself. Returns whether there was anything."""
    left = list(layout.run.glob("*.pid"))
    for path in left:
        pid = processes.kill_leftover(path) if path.stem != _SUPERVISOR else None
        if pid is not None:
            log.warning("leftover process killed", part=path.stem, pid=pid)
    shutil.rmtree(layout.scratch, ignore_errors=True)
    layout.scratch.mkdir()
    return bool(left)


def _free_soon(port: int, patience: float, host: str = servers.LOOPBACK) -> bool:
    deadline = time.monotonic() + patience
    while not ports.is_free(port, host):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _other_gateway_port(host: str, taken: int, *, insist: bool) -> tuple[int, tuple[str, ...]]:
    other = next((port for port in range(taken + 1, 65536) if ports.is_free(port, host)), None)
    if insist or other is None:
        raise Conflict(f"port {taken} is taken by another program", hint="name another one: auteur up --port PORT")
    return other, (f"port {taken} is taken by another program: this stack listens on {other}",)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


class Supervisor:
    def __init__(self, prepared: Prepared, *, services_only: bool) -> None:
        self._machine = prepared.machine
        self._layout = prepared.machine.layout
        self._services_only = services_only
        self._notes = (*prepared.notes, *((_SERVICES_ONLY,) if services_only else ()))
        self._discovery_notes: tuple[str, ...] = ()
        self._started = time.time()
        self._stopping = asyncio.Event()
        self._found = asyncio.Event()
        """Runners were found: the folder need not be looked at to know that it changed."""
        self._keepers: dict[str, Keeper] = {}
        self._external: tuple[PartReport, ...] = ()
        self._agents: dict[str, Part] = {}
        self._gpu_memory: tuple[float, ...] = ()
        self._runners: tuple[str, ...] = ()
        self._pending = _DISCOVERY

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`."""
        processes.write_pid_file(self._layout.process(_SUPERVISOR), os.getpid())
        self._layout.address.write_text(f"{self._machine.url}\n")
        self._write_state()
        kept = (self._start(), self._discover(), self._rotate(), self._watch_nats())
        tasks = [asyncio.create_task(work) for work in kept]
        try:
            await self._until_stopped(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop_all()
            for path in (self._layout.address, self._layout.process(_SUPERVISOR), self._layout.state):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    async def _until_stopped(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Also returns when a task of the supervisor fails, which is a defect: everything is then stopped in order."""
        stopping = asyncio.create_task(self._stopping.wait())
        watched: set[asyncio.Task[None] | asyncio.Task[bool]] = {stopping, *tasks}
        while not stopping.done():
            done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                await task
        log.info("stopping")

    # ── starting ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _start(self) -> None:
        settings = self._machine.settings
        nats = None if settings.nats.url else servers.find_binary("nats-server")
        store = None if settings.store.url else servers.find_binary("weed")
        self._external = stack.external(settings)
        backing = [self._add(part) for part in stack.backing_services(self._machine, nats, store)]
        left_out = {PartKind.GATEWAY} if self._services_only else set()
        programs = [self._add(part) for part in stack.programs(self._machine) if part.kind not in left_out]
        # All at once: the programs take longer over their imports than the servers over their start, and they wait.
        for keeper in (*backing, *programs):
            keeper.start()
        if self._services_only:
            self._write_state()
            return
        self._gpu_memory = await asyncio.to_thread(gpu_memory_gigabytes)
        # The workers too: a model's imports take longer than all else together, and agents wait for NATS by themselves.
        await self._watch_runners()

    def _add(self, part: Part) -> Keeper:
        keeper = Keeper(part, self._layout, probe_of(part, self._machine.config), self._write_state)
        self._keepers[part.name] = keeper
        return keeper

    # ── runners ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch_runners(self) -> None:
        seen: dict[Path, int] | None = None
        while True:
            now = _changes(self._layout.runners)
            if now != seen:
                seen = now
                await self._reconcile_workers()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_SECONDS):
                    await self._found.wait()
            self._found.clear()

    async def _reconcile_workers(self) -> None:
        entries, unreadable = await asyncio.to_thread(registration.read_all, self._layout)
        for one in unreadable:
            log.warning("runner unreadable", runner=one.name, why=one.why)
        self._runners = tuple(entry.name for entry in entries)
        wanted = stack.agents(self._machine, [entry for entry in entries if self._can_serve(entry)])
        change = stack.change(self._agents, wanted)
        self._agents = wanted
        # A worker stays among the keepers until it has stopped, so that a stack that is stopped meanwhile waits for it.
        await asyncio.gather(*(self._keepers[name].stop() for name in change.stop))
        for name in change.stop:
            del self._keepers[name]
        for part in change.start:
            self._add(part).start()
        self._write_state()

    def _can_serve(self, entry: Registered) -> bool:
        """A runner whose every tier needs a larger card stays in the catalogue with its reason, without a process."""
        return any(fits(tier.vram_gigabytes, self._gpu_memory) for tier in entry.runner.spec.tiers)

    async def _discover(self) -> None:
        if self._machine.settings.standalone.discover:
            found = await discovery.discover(discovery.environments(self._machine.settings, self._layout))
            failures = [*found.failed, *discovery.register_found(self._layout, found)]
            self._found.set()
            self._discovery_notes = tuple(f"runner {failed.name} is not available: {failed.why}" for failed in failures)
            for failed in failures:
                log.warning("runner not available", runner=failed.name, why=failed.why)
        self._runners = tuple(entry.name for entry in registration.read_all(self._layout)[0])
        self._pending = ""
        self._write_state()

    # ── housekeeping ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _rotate(self) -> None:
        limit = self._machine.settings.standalone.log_bytes
        while True:
            for path in self._layout.logs.glob("*.log"):
                with contextlib.suppress(OSError):  # a full disk: the next round tries again
                    await asyncio.to_thread(logfiles.rotate, path, limit)
            await asyncio.sleep(_ROTATE_SECONDS)

    def _write_state(self) -> None:
        reports = (*self._external, *(keeper.report for keeper in self._keepers.values()))
        with contextlib.suppress(OSError):  # a full disk must not end what still runs
            state.write(
                self._layout.state,
                StackState(
                    pid=os.getpid(),
                    url=self._machine.url,
                    services_only=self._services_only,
                    started=self._started,
                    notes=(*self._notes, *self._discovery_notes),
                    parts=reports,
                    runners=self._runners,
                    pending=self._pending,
                ),
            )

    async def _watch_nats(self) -> None:
        """Where a full disk closed streams of NATS, starts it again once there is room: only then are they opened."""
        while not self._machine.settings.nats.url:
            await asyncio.sleep(_NATS_SECONDS)
            # Not with the others: this import is a tenth of the whole start, and by now nobody waits for that.
            from auteur_kit.bus import Bus  # noqa: PLC0415

            with contextlib.suppress(Unavailable):  # it is on its way up, or down: asked again
                async with Bus.connect(nats_settings(self._machine.config), name=_SUPERVISOR) as bus:
                    await self._keep_streams_open(bus)

    async def _keep_streams_open(self, bus: "Bus") -> None:
        while True:
            closed = await bus.unwritable_streams()
            if closed and shutil.disk_usage(self._layout.nats).free > _ROOM_BYTES:
                log.warning("nats stores nothing any more, and is started again", streams=closed)
                self._keepers[PartKind.NATS].restart()
                return
            await asyncio.sleep(_NATS_SECONDS)

    # ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stop_all(self) -> None:
        for kinds in stack.STOP_ORDER:
            group = [keeper for keeper in self._keepers.values() if keeper.part.kind in kinds]
            # A part that fails to stop must not keep the others running.
            ended = await asyncio.gather(*(keeper.stop() for keeper in group), return_exceptions=True)
            for error in ended:
                if isinstance(error, BaseException):
                    log.error("stopping a part failed", error=repr(error))


def probe_of(part: Part, config: Config) -> Probe | None:
    match part.kind:
        case PartKind.NATS:
            return partial(nats_answers, config.ports.nats)
        case PartKind.STORE:
            return partial(store_answers, part.address, config.ports.store)
        case PartKind.GATEWAY:
            return partial(url_answers, f"{part.address}/livez")
        case PartKind.ENGINE | PartKind.AGENT:
            return None


def _changes(folder: Path) -> dict[Path, int]:
    found: dict[Path, int] = {}
    for path in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_mtime_ns
    return found


async def supervise(prepared: Prepared, *, services_only: bool) -> None:
    """Until SIGTERM or SIGINT."""
    supervisor = Supervisor(prepared, services_only=services_only)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, supervisor.stop)
    await supervisor.run()
