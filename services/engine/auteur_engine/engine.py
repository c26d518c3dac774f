"""The engine: one asyncio process that runs the control plane over the table and the agents of this machine."""

import asyncio
from collections.abc import Callable

from auteur_control.control_plane import ControlPlane, ControlSettings, Outside
from auteur_control.fair_queue import Limits
from auteur_control.kinds import JOBS
from auteur_control.work_queue import WorkQueue
from auteur_engine.agents import LocalAgents
from auteur_engine.machine import gpu_memory_gigabytes
from auteur_engine.resources import StoredJobs
from auteur_engine.runner_folder import RunnerFolder
from auteur_engine.settings import EngineSettings
from auteur_engine.table import Table
from auteur_kit.logs import get_logger
from auteur_lifecycle.fleet import Fleet

log = get_logger()


async def run_engine(
    outside: Outside, table: Table, settings: EngineSettings, ready: Callable[[], None] = lambda: None
) -> None:
    """Until cancelled."""
    await outside.bus.ensure_streams()
    fleet = Fleet()
    jobs = StoredJobs(table, JOBS, outside.clock)
    agents = LocalAgents(RunnerFolder(settings.runners), fleet, gpu_memory_gigabytes(), settings.namespace)
    wanted = ControlSettings(
        source="engine",
        secret=settings.secret.get_secret_value().encode(),
        max_output_bytes=settings.max_output_bytes,
        limits=Limits(total=settings.max_active),
    )
    control = ControlPlane(outside, jobs, agents, fleet, WorkQueue(), wanted)
    log.info("engine loaded", unfinished=len(tuple(jobs.live_keys())))
    async with asyncio.TaskGroup() as group:
        group.create_task(agents.run(control.on_pool_changed))
        group.create_task(control.run(ready=ready))
