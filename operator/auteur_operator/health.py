"""/healthz, /readyz and /metrics. A replica is alive while its watches show the Lease renewed
and its event loop is prompt.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from auteur_operator.metrics import Metrics

_LEASE_SILENCE = 60.0
"""Seconds: six times as long as the Lease lasts, since a watch may be interrupted and listed anew in between."""
_LONGEST_LOOP_LAG = 10.0
_INTERVAL = 1.0


@dataclass
class Health:
    """What the probes' answers are made from."""

    started: float = field(default_factory=time.monotonic)
    lease_seen: float = 0.0
    """When a watch last showed the Lease changing; monotonic seconds."""
    loop_lag: float = 0.0
    waits_for: str = "the API server"
    """Empty when it is ready."""

    def why_not_alive(self, now: float) -> str:
        silent = now - max(self.lease_seen, self.started)
        if silent > _LEASE_SILENCE:
            return f"no watch has shown the Lease for {silent:.0f} s"
        if self.loop_lag > _LONGEST_LOOP_LAG:
            return f"the event loop was {self.loop_lag:.1f} s late"
        return ""


async def measure_loop_lag(health: Health, metrics: Metrics) -> None:
    """Until cancelled: records how much later than asked for the event loop wakes."""
    while True:
        due = time.monotonic() + _INTERVAL
        await asyncio.sleep(_INTERVAL)
        health.loop_lag = max(0.0, time.monotonic() - due)
        metrics.loop_lag.set(health.loop_lag)


@contextlib.asynccontextmanager
async def serve(host: str, port: int, health: Health, metrics: Metrics) -> AsyncIterator[int]:
    """Yields the port."""

    async def healthz(_: web.Request) -> web.Response:
        why = health.why_not_alive(time.monotonic())
        return web.Response(text=why or "ok\n", status=503 if why else 200)

    async def readyz(_: web.Request) -> web.Response:
        why = health.waits_for
        return web.Response(text=f"waits for {why}\n" if why else "ok\n", status=503 if why else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        addresses = runner.addresses
        yield int(addresses[0][1])
    finally:
        await runner.cleanup()
