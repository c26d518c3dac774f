"""Nodes and pods that are played by kwok on a real control plane: GPUs without cards, and every end of a pod on demand.

What a pod's annotations choose is told in `stages.yaml`; `Ends` writes them.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from auteur_standalone.servers import LOOPBACK
from tests.support.cluster import binaries
from tests.support.cluster.control_plane import Cluster, ready_probe
from tests.support.cluster.kubectl import NO_PROXY
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess

DEVICE_CLASS = "gpu.nvidia.com"
_PREFIX = "test.auteur.studio"
# A label: who watches with a label selector is told when a node no longer has it, and kwok lets go of it.
_PLAYED = f"{_PREFIX}/played"
_STAGES = Path(__file__).with_name("stages.yaml")


class End(enum.StrEnum):
    """How a pod ends."""

    SUCCEED = "succeed"
    FAIL = "fail"
    HANG = "hang"
    VANISH = "vanish"
    OOM = "oom"
    EVICTED = "evicted"
    IMAGE_PULL = "image-pull"
    CONFIG_ERROR = "config-error"


def ends(
    end: End,
    *,
    message: str = "",
    exit_code: int | None = None,
    starts_after: float = 0,
    after: float = 0,
    deletes_after: float = 0,
) -> dict[str, str]:
    """The annotations for a pod that is to end so. Times are seconds."""
    asked = {
        "ends": end.value,
        "termination-message": message,
        "exit-code": "" if exit_code is None else str(exit_code),
        "starts-after": _duration(starts_after),
        "ends-after": _duration(after),
        "deletes-after": _duration(deletes_after),
    }
    return {f"{_PREFIX}/{name}": value for name, value in asked.items() if value}


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms" if seconds else ""


@dataclass(frozen=True)
class Shape:
    """Some nodes that are alike; they are named `<name>-0`, `<name>-1`, …"""

    name: str = "fake"
    count: int = 5
    gpus: int = 8
    gpu_mib: int = 24_576
    product: str = "NVIDIA-Fake-24GB"
    cpu: str = "1k"
    memory: str = "1Ti"
    pods: str = "10k"
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(f"{self.name}-{index}" for index in range(self.count))

    def resources(self) -> list[dict[str, Any]]:
        """As the device plugin and GPU Feature Discovery leave their nodes."""
        return [self._node(name) for name in self.nodes]

    def slices(self) -> list[dict[str, Any]]:
        """As NVIDIA's DRA driver publishes their cards."""
        return [self._slice(name) for name in self.nodes] if self.gpus else []

    def _node(self, name: str) -> dict[str, Any]:
        cards = {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.count": str(self.gpus),
            "nvidia.com/gpu.memory": str(self.gpu_mib),
            "nvidia.com/gpu.product": self.product,
        }
        played = {_PLAYED: "yes", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        amounts = {"cpu": self.cpu, "memory": self.memory, "pods": self.pods, "ephemeral-storage": "1Ti"}
        amounts |= {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/hostname": name, **played, **(cards if self.gpus else {}), **self.labels},
            },
            "spec": {"taints": [dict(taint) for taint in self.taints]},
            "status": {"allocatable": amounts, "capacity": amounts},
        }

    def _slice(self, node: str) -> dict[str, Any]:
        def device(index: int) -> dict[str, Any]:
            facts = {"type": "gpu", "productName": self.product, "uuid": f"GPU-{node}-{index}"}
            return {
                "name": f"gpu-{index}",
                "attributes": {key: {"string": value} for key, value in facts.items()},
                "capacity": {"memory": {"value": f"{self.gpu_mib}Mi"}},
            }

        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{node}-{DEVICE_CLASS}"},
            "spec": {
                "driver": DEVICE_CLASS,
                "nodeName": node,
                "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
                "devices": [device(index) for index in range(self.gpus)],
            },
        }


@dataclass(frozen=True)
class Player:
    """kwok at work for one cluster. It plays only nodes that carry its label."""

    cluster: Cluster
    process: ServerProcess

    def start(self) -> "Player":
        # A lease that a killed kwok still holds would make this one wait until it runs out.
        nodes = self.cluster.kubectl(
            "get", "nodes", "--selector", f"{_PLAYED}=yes", "-o", "jsonpath={.items[*].metadata.name}"
        )
        if nodes:
            self.cluster.kubectl.within("kube-node-lease")("delete", "lease", "--ignore-not-found", *nodes.split())
        self.process.start()
        return self

    def stop(self) -> None:
        self.process.stop()

    def add(self, *shapes: Shape) -> None:
        """Returns when their nodes are ready."""
        self.cluster.kubectl.create(*(node for shape in shapes for node in shape.resources()))
        names = [f"node/{name}" for shape in shapes for name in shape.nodes]
        self.cluster.kubectl("wait", "--for=condition=Ready", "--timeout=90s", *names)

    def remove(self, *shapes: Shape) -> None:
        names = [name for shape in shapes for name in shape.nodes]
        self.cluster.kubectl("delete", "node", "--ignore-not-found", *names)

    def silence(self, node: str) -> None:
        """From now on nobody plays this node and its pods, as if its power had failed. To be lost it needs others that
        are well: where all nodes are silent, Kubernetes takes it for its own fault and evicts nothing.
        """
        self.cluster.kubectl("label", "node", node, f"{_PLAYED}-")

    def wake(self, node: str) -> None:
        self.cluster.kubectl("label", "node", node, f"{_PLAYED}=yes", "--overwrite")

    @contextmanager
    def devices(self, *shapes: Shape) -> Iterator[None]:
        """While it lasts the cluster has a DRA driver: its device class, and a slice for each node of these."""
        resources = [device_class(), *(part for shape in shapes for part in shape.slices())]
        self.cluster.kubectl.apply(*resources)
        try:
            yield
        finally:
            self.cluster.kubectl.delete(*resources)


def player(cluster: Cluster, folder: Path, *, parallelism: int = 16, lease_seconds: int = 40) -> Player:
    """Not yet started. `folder` must not exist yet."""
    folder.mkdir(parents=True)
    config, port = folder / "kwok.yaml", free_ports(1)[0]
    options = {
        "cidr": "10.128.0.0/10",
        "manageNodesWithLabelSelector": f"{_PLAYED}=yes",
        "nodeLeaseDurationSeconds": lease_seconds,
        "podPlayStageParallelism": parallelism,
        # Its defaults, which a configuration file that names any option makes it forget.
        **dict.fromkeys(("nodePlayStageParallelism", "nodeLeaseParallelism", "podsOnNodeSyncParallelism"), 4),
        "enablePodsOnNodeSyncListPager": True,
        "serverAddress": f"{LOOPBACK}:{port}",
    }
    configuration = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokConfiguration", "options": options}
    config.write_text(f"{yaml.safe_dump(configuration)}---\n{_STAGES.read_text()}")
    argv = (
        *cluster.prefix,
        str(binaries.find("kwok")),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--config={config}",
        "--v=WARN",  # at INFO it writes a line for each change of each pod
    )
    probe = ready_probe(f"http://{LOOPBACK}:{port}/healthz", cluster.prefix)
    return Player(cluster, ServerProcess("kwok", argv, folder / "kwok.log", probe, env=dict(NO_PROXY)))


def device_class() -> dict[str, Any]:
    """As NVIDIA's DRA driver installs it."""
    wanted = f"device.driver == '{DEVICE_CLASS}' && device.attributes['{DEVICE_CLASS}'].type == 'gpu'"
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": DEVICE_CLASS},
        "spec": {"selectors": [{"cel": {"expression": wanted}}]},
    }


@contextmanager
def playing(cluster: Cluster, folder: Path, *shapes: Shape, lease_seconds: int = 40) -> Iterator[Player]:
    """At work, with these nodes ready; and at the end neither is left."""
    made = player(cluster, folder, lease_seconds=lease_seconds)
    try:
        made.start()
        made.add(*shapes)
        yield made
    finally:
        try:
            made.remove(*shapes)
        finally:
            made.stop()
