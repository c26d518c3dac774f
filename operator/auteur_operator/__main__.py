"""`python -m auteur_operator`: settings from the environment, until SIGTERM or until another replica leads."""

import asyncio
import gc
import signal
import sys

import kopf
import uvloop

from auteur_contracts.errors import AuteurError
from auteur_kit import logs, telemetry
from auteur_kit.clock import utc_now
from auteur_kit.logs import get_logger
from auteur_kit.settings import read_settings
from auteur_kit.store import Store
from auteur_operator import handlers, health
from auteur_operator.cluster import Cluster, configuration
from auteur_operator.health import Health
from auteur_operator.leader import Leader, LeadershipLost, Times
from auteur_operator.leadership import LEASE, Replica, identity_of
from auteur_operator.metrics import Metrics
from auteur_operator.settings import OperatorSettings, Settings

log = get_logger()
_COLLECT = (50_000, 20, 50)
"""Each event of a watch is some hundred objects that die at once: looking for cycles among them so often is a waste."""
_LEAVES_WITHIN = 5.0
"""Seconds."""


async def serve(settings: Settings) -> None:
    """Raises LeadershipLost, or whatever ended a part that must not end."""
    wanted = settings.operator
    state, metrics, store = Health(), Metrics(), Store(settings.store)
    access = await configuration()
    cluster = Cluster(access, metrics.count_call)
    replica = Replica(settings, cluster, store, state, metrics, utc_now)
    lease = (wanted.namespace, LEASE)
    leader = Leader(cluster, *lease, identity_of(wanted.identity), _times(wanted))
    stop = asyncio.Event()
    _heed_signals(stop)
    try:
        async with health.serve(wanted.http_host, wanted.http_port, state, metrics) as port:
            log.info("operator started", http_port=port)
            async with asyncio.TaskGroup() as group:
                parts = [
                    group.create_task(health.measure_loop_lag(state, metrics)),
                    group.create_task(_watch(settings, replica, lease, access, stop)),
                    group.create_task(_lead(leader, replica, state)),
                ]
                await _first(stop, parts)
                for part in parts:
                    part.cancel()
    finally:
        await cluster.close()
        store.close()


async def _first(stop: asyncio.Event, parts: list[asyncio.Task[None]]) -> None:
    """Until somebody says stop, or a part ends: none should."""
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopping, *parts}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        if not task.cancelled() and task.exception() is None:
            raise RuntimeError(f"a part of the operator ended: {task.get_name()}")


async def _watch(
    settings: Settings, replica: Replica, lease: tuple[str, str], access: object, stop: asyncio.Event
) -> None:
    """Kopf's own way to run its tasks takes all others of the loop for its own at the end: it would wait five seconds
    for whoever leads here and then cancel it, which looks like a Lease that was lost and is given back to nobody.
    """
    places = settings.operator.places
    watching = await kopf.spawn_tasks(
        registry=handlers.registry(replica.intake, access),
        settings=handlers.settings(lease),
        standalone=True,
        clusterwide=not places,
        namespaces=places,
    )
    _heed_signals(stop)  # Kopf has just taken them for itself
    try:
        done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _lead(leader: Leader, replica: Replica, state: Health) -> None:
    state.waits_for = ""  # a standby is ready to succeed
    await leader.acquire()
    leading = asyncio.create_task(replica.lead())
    holding = asyncio.create_task(leader.hold())
    try:
        await asyncio.wait({leading, holding}, return_when=asyncio.FIRST_COMPLETED)
        for task in (leading, holding):
            if task.done():
                task.result()
    finally:
        lost = holding.done()
        for task in (leading, holding):
            task.cancel()
        # A library may forget a cancellation that meets an answer. A replica that may still write
        # keeps the Lease until it runs out.
        ended, busy = await asyncio.wait({leading, holding}, timeout=_LEAVES_WITHIN)
        for task in ended:
            _ = task.cancelled() or task.exception()  # the first was raised above
        if not lost and not busy:
            await leader.release()


def _times(wanted: OperatorSettings) -> Times:
    return Times(
        duration=wanted.lease_duration.total_seconds(),
        renew_deadline=wanted.lease_renew_deadline.total_seconds(),
        retry=wanted.lease_retry.total_seconds(),
    )


def main() -> int:
    try:
        settings = read_settings(Settings)
    except AuteurError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2
    if not settings.operator.secret.get_secret_value():
        sys.stderr.write(
            "error: AUTEUR_OPERATOR__SECRET is empty; reports are signed with it: set a long random text\n"
        )
        return 2
    logs.configure(settings.log, service="operator")
    send_spans = telemetry.configure(settings.telemetry, service="operator")
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    code = 0
    try:
        uvloop.run(serve(settings))
    except* LeadershipLost as lost:
        log.error("operator stopped", error=str(lost.exceptions[0]))  # noqa: TRY400  # expected, and said in full
        code = 1
    finally:
        send_spans()
    return code


if __name__ == "__main__":
    sys.exit(main())
