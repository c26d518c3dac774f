"""Leader election: the active replica holds a Lease and renews it, as client-go's leaderelection does.

kubernetes.aio has one too; its calls have no time limit and its clock is the wall's, so a hung API server or a changed
clock would leave two leaders. Here a holder that could not renew within the deadline has ended before the Lease has.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from auteur_control.errors import Conflicted, Exists, ResourceError
from auteur_kit.logs import get_logger
from auteur_operator.cluster import Cluster, path_of

log = get_logger()
_LEASES = "coordination.k8s.io/v1"


@dataclass(frozen=True)
class Times:
    """Seconds."""

    duration: float = 10.0
    renew_deadline: float = 7.0
    retry: float = 2.0


class LeadershipLost(Exception):
    """Another replica leads, or may lead: this one must write nothing more."""


class Leader:
    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str, times: Times) -> None:
        self._cluster = cluster
        self._path = path_of(_LEASES, "leases", namespace, name)
        self._paths = path_of(_LEASES, "leases", namespace)
        self._meta = {"name": name, "namespace": namespace}
        self._identity = identity
        self._times = times
        self._seen: tuple[str, str] = ("", "")
        """Holder and renewal as last seen. By our clock another's Lease ends its duration after we saw it change."""
        self._seen_at = 0.0
        self._renewed_at = 0.0
        """When the last write of the Lease began: other replicas may see the write before we get its answer."""
        self._version = ""
        self._transitions = 0
        self._since = ""

    async def acquire(self) -> None:
        """Returns when this replica leads."""
        while True:
            try:
                async with asyncio.timeout(self._times.renew_deadline):
                    if await self._try():
                        log.info("leadership acquired", identity=self._identity)
                        return
            except (ResourceError, TimeoutError) as error:
                log.warning("lease not acquired", error=str(error))
            await asyncio.sleep(self._times.retry)

    async def hold(self) -> None:
        """Renews until it cannot. Raises LeadershipLost."""
        while True:
            await asyncio.sleep(min(self._times.retry, max(0.0, self._left())))
            try:
                async with asyncio.timeout(max(0.0, self._left())):
                    if not await self._try():
                        raise LeadershipLost("another replica holds the Lease")
            except (ResourceError, TimeoutError) as error:
                log.warning("lease not renewed", error=str(error) or "no answer in time")
                if self._left() <= 0:
                    raise LeadershipLost("the Lease could not be renewed in time") from error

    def _left(self) -> float:
        return self._renewed_at + self._times.renew_deadline - time.monotonic()

    async def release(self) -> None:
        """Gives the Lease up, so that a successor need not wait for its end. Best effort."""
        try:
            async with asyncio.timeout(2):
                await self._put(holder="", version=self._version)
        except (ResourceError, TimeoutError) as error:
            log.info("lease not released", error=str(error))

    async def _try(self) -> bool:
        """Takes or renews the Lease. False where another replica holds it."""
        lease = await self._cluster.find(self._path)
        if lease is None:
            return await self._unless_another_wrote(self._create)
        spec = lease["spec"]
        seen = (spec.get("holderIdentity") or "", spec.get("renewTime") or "")
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        lasts = float(spec.get("leaseDurationSeconds") or self._times.duration)
        held = seen[0] not in ("", self._identity) and time.monotonic() < self._seen_at + lasts
        if held:
            return False
        if seen[0] != self._identity:
            self._transitions = int(spec.get("leaseTransitions") or 0) + 1
            self._since = _now()
        version = lease["metadata"]["resourceVersion"]
        return await self._unless_another_wrote(lambda: self._put(self._identity, version))

    async def _unless_another_wrote(self, write: Callable[[], Awaitable[None]]) -> bool:
        began = time.monotonic()
        try:
            await write()
        except (Exists, Conflicted):
            return False
        self._renewed_at = began
        return True

    async def _create(self) -> None:
        self._since = _now()
        made = await self._cluster.create(self._paths, self._manifest(self._identity))
        self._version = made["metadata"]["resourceVersion"]

    async def _put(self, holder: str, version: str) -> None:
        manifest = self._manifest(holder)
        manifest["metadata"] = {**self._meta, "resourceVersion": version}
        self._version = await self._cluster.replace(self._path, manifest)

    def _manifest(self, holder: str) -> dict[str, Any]:
        return {
            "apiVersion": _LEASES,
            "kind": "Lease",
            "metadata": dict(self._meta),
            "spec": {
                "holderIdentity": holder,
                # The API takes whole seconds.
                "leaseDurationSeconds": max(1, round(self._times.duration)) if holder else 1,
                "acquireTime": self._since or _now(),
                "renewTime": _now(),
                "leaseTransitions": self._transitions,
            },
        }


def _now() -> str:
    """As Kubernetes writes a MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
