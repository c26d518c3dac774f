"""What attempts need around them: workers of pools as they are counted, the Secret, network policy and GPU claims of a
namespace, the nodes as they are.
"""

import contextlib
import time
from dataclasses import replace

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, Plan
from auteur_control.errors import Exists, Gone, ResourceError
from auteur_kit.logs import get_logger
from auteur_operator import desired
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.desired import GPU, GPU_MEMORY, Surroundings
from auteur_operator.diagnosis import Node
from auteur_operator.object_cache import ObjectCache
from auteur_operator.observed import Raw
from auteur_operator.settings import OperatorSettings

log = get_logger()
_DRA = "resource.k8s.io/v1"
_NETWORKING = "networking.k8s.io/v1"
_NODES_FRESH = 15.0
_DEVICES_FRESH = 300.0
_POLICY_FRESH = 300.0


class Prerequisites:
    def __init__(
        self, cluster: Cluster, objects: ObjectCache, settings: OperatorSettings, surroundings: Surroundings
    ) -> None:
        self._cluster = cluster
        self._objects = objects
        self._settings = settings
        self._prepared: dict[tuple[str, str], float] = {}
        """(namespace, object) → when it was made in this life"""
        self._nodes: tuple[Node, ...] = ()
        self._nodes_at = float("-inf")
        self._devices_at = float("-inf")
        self.surroundings = surroundings

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def most_workers(self, pool: str) -> int:
        """How many warm workers the pool may have."""
        runner, parsed = self._objects.runner_of(pool), names.TierPool.parse(pool)
        tier = runner.tier(parsed.quality) if runner and parsed else None
        return tier.warm.max if tier else 0

    # ── what pods refer to ────────────────────────────────────────────────────────────────────────────────────────

    async def prepare(self, namespace: str, runner: FunctionRunner, plan: Plan) -> None:
        """Makes what the pod of an attempt refers to, in its namespace."""
        await self.prepare_workers(namespace)
        vram = desired.tier_of(runner, plan).vram_gigabytes
        if vram:
            await self.look_for_devices()
        if vram and desired.uses_dra(runner, self.surroundings):
            await self.claim_template(namespace, vram)

    async def prepare_workers(self, namespace: str) -> None:
        """What every worker there needs, and what keeps it from the rest."""
        await self._network_policy(namespace)
        await self._worker_secret(namespace)

    async def _network_policy(self, namespace: str) -> None:
        """Made anew from time to time: what is not there any more is missed by nobody."""
        egress, made_at = self._settings.worker_egress, self._prepared.get((namespace, _NETWORKING))
        if made_at is not None and (egress is None or time.monotonic() - made_at < _POLICY_FRESH):
            return
        path = path_of(_NETWORKING, "networkpolicies", namespace, desired.WORKER_POLICY)
        if egress is None:
            await self._remove(path)
        else:
            await self._cluster.apply(path, desired.worker_policy(namespace, egress))
        self._made(namespace, _NETWORKING)

    async def _remove(self, path: str) -> None:
        """What was left by earlier settings: where it stays, workers can do less, not more."""
        try:
            await self._cluster.delete(path)
        except ResourceError as error:
            log.warning("network policy cannot be removed", error=str(error))

    async def _worker_secret(self, namespace: str) -> None:
        if (namespace, desired.WORKER_SECRET) in self._prepared:
            return
        wanted = self._settings
        manifest = desired.worker_secret(
            namespace, wanted.worker_nats_user, wanted.worker_nats_password.get_secret_value()
        )
        await self._cluster.apply(path_of("v1", "secrets", namespace, desired.WORKER_SECRET), manifest)
        self._made(namespace, desired.WORKER_SECRET)

    async def claim_template(self, namespace: str, vram_gigabytes: float) -> None:
        manifest = desired.claim_template(namespace, vram_gigabytes)
        name = manifest["metadata"]["name"]
        if (namespace, name) in self._prepared:
            return
        with contextlib.suppress(Exists):
            await self._cluster.make(path_of(_DRA, "resourceclaimtemplates", namespace), manifest)
        self._made(namespace, name)

    def _made(self, namespace: str, what: str) -> None:
        self._prepared[namespace, what] = time.monotonic()

    def forget(self, namespace: str) -> None:
        """A namespace is gone, or lacks something: what was made there is made again."""
        self._prepared = {each: when for each, when in self._prepared.items() if each[0] != namespace}

    # ── machines ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def nodes(self) -> tuple[Node, ...]:
        """At most some seconds old."""
        if time.monotonic() - self._nodes_at > _NODES_FRESH:
            raws, _ = await self._cluster.list(path_of("v1", "nodes"))
            self._nodes = tuple(node_of(raw) for raw in raws)
            self._nodes_at = time.monotonic()
        return self._nodes

    @property
    def known_nodes(self) -> tuple[Node, ...]:
        return self._nodes

    async def look_for_devices(self) -> None:
        """Whether the cluster allocates GPUs by DRA."""
        if time.monotonic() - self._devices_at < _DEVICES_FRESH:
            return
        try:
            found = await self._cluster.find(path_of(_DRA, "deviceclasses", "", desired.DEVICE_CLASS))
        except Gone:  # a cluster without the API
            found = None
        except ResourceError as error:
            log.warning("device classes cannot be read", error=str(error))
            return
        self._devices_at = time.monotonic()
        self.surroundings = replace(self.surroundings, has_device_class=found is not None)


def node_of(raw: Raw) -> Node:
    """Cards are counted where they can be asked for; their memory is what feature discovery found."""
    labels = raw["metadata"].get("labels", {})
    gpus = str(raw.get("status", {}).get("allocatable", {}).get(GPU, "0"))
    memory = labels.get(GPU_MEMORY, "")
    return Node(
        name=raw["metadata"]["name"],
        gpus=int(gpus) if gpus.isdigit() else 0,
        gpu_memory_mib=int(memory) if memory.isdigit() else 0,
    )
