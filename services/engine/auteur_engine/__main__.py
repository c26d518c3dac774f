"""`python -m auteur_engine`: settings from the environment, until SIGTERM."""

import asyncio
import gc
import os
import signal
import sys

import uvloop

from auteur_contracts.errors import AuteurError, Unavailable
from auteur_control.control_plane import Outside
from auteur_engine.engine import run_engine
from auteur_engine.settings import Settings
from auteur_engine.table import Table
from auteur_kit import logs, telemetry
from auteur_kit.bus import Bus
from auteur_kit.clock import utc_now
from auteur_kit.logs import get_logger
from auteur_kit.settings import read_settings
from auteur_kit.store import Store

_LAST_SECONDS = 3.0
"""What still waits for a disk that takes nothing gets no longer: whoever keeps this process starts it anew."""


async def serve(settings: Settings) -> None:
    log = get_logger()
    loop = asyncio.get_running_loop()
    work = asyncio.current_task()
    store = Store(settings.store)

    def stop() -> None:
        if work is not None:
            work.cancel()

    faults: list[BaseException] = []

    def on_fault(error: BaseException) -> None:
        # Memory is ahead of the truth now: the next life begins from the disk.
        log.error("the table of resources cannot be written", error=repr(error))
        faults.append(error)
        loop.call_later(_LAST_SECONDS, os._exit, 1)
        stop()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop)
    table = Table.open(settings.engine.database, on_fault)
    bucket = asyncio.create_task(store.bring_bucket())
    try:
        async with Bus.connect(settings.nats, name="engine", owns_streams=True) as bus:
            outside = Outside(bus, store, utc_now)
            await run_engine(outside, table, settings.engine, ready=lambda: log.info("engine ready"))
    except asyncio.CancelledError:
        if faults:
            raise Unavailable("the engine's database cannot be written") from faults[0]
    finally:
        bucket.cancel()
        table.close()
        store.close()


def main() -> int:
    try:
        settings = read_settings(Settings)
    except AuteurError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    logs.configure(settings.log, service="engine")
    send_spans = telemetry.configure(settings.telemetry, service="engine")
    gc.freeze()
    try:
        uvloop.run(serve(settings))
    except AuteurError as error:
        get_logger().error("engine stopped", error=error.message)
        return 1
    finally:
        send_spans()
    return 0


if __name__ == "__main__":
    sys.exit(main())
