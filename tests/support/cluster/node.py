"""A real node with its control plane, all inside one enclosure: kubelet, containerd and runc, a proxy for services, DNS
for their names, and a registry to pull from. No address outside can be reached from it.
"""

import fcntl
import json
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import binaries, cgroups, control_plane
from tests.support.cluster.certificates import ADMIN_GROUP
from tests.support.cluster.control_plane import Cluster, ControlPlane, Options
from tests.support.cluster.images import ImageStore, state_folder
from tests.support.cluster.network import ADDRESS, Enclosure, InsideProcess, enclosed
from tests.support.cluster.registry import Registry, registry
from tests.support.waiting import wait_for

NAME = "node-1"
DOMAIN = "cluster.local"
_PODS = "198.19.0.0/17"
_SERVICES = "198.19.128.0/17"
_LOCKED_FOR = 900.0
_VOLUMES = 40


@dataclass(frozen=True, kw_only=True)
class NodeRig(Cluster):
    """A cluster of one real node. See `running`, which makes one."""

    enclosure: Enclosure
    control: ControlPlane
    registry: Registry
    images: ImageStore
    containerd: InsideProcess
    kubelet: InsideProcess
    proxy: InsideProcess
    dns: InsideProcess

    def image(
        self,
        name: str,
        context: Path,
        *,
        dockerfile: Path | None = None,
        build_args: Mapping[str, str] | None = None,
        target: str = "",
    ) -> str:
        """What a pod names to run this image: built and pushed, unless it is there. See `ImageStore.build`."""
        built = self.images.build(name, context, dockerfile=dockerfile, build_args=build_args, target=target)
        return self.images.push(built, self.registry)

    def base_image(self, variant: str = "python3") -> str:
        """What a pod names to run a bare base."""
        return self.images.push(self.images.base(variant), self.registry)

    def kubeconfig_outside(self) -> Path:
        """The administrator's, for programs that are not in the rig's network: by a port on the machine's loopback."""
        port = self.enclosure.forward(int(self.control.url.rpartition(":")[2]), ADDRESS)
        url = f"https://127.0.0.1:{port}"
        pair = self.control.authority.issue("outside", user="outside", groups=[ADMIN_GROUP])
        return self.control.authority.kubeconfig(self.folder / "outside.kubeconfig", url, pair)

    @property
    def ready(self) -> bool:
        seen = self.kubectl.run("get", "node", NAME, "-o", "json")
        if seen.returncode != 0:
            return False
        conditions = json.loads(seen.stdout)["status"]["conditions"]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@contextmanager
def running(state: Path | None = None) -> Iterator[NodeRig]:
    """A ready node; nothing of it is left at the end but what `state` keeps: images, built, pushed and pulled, and the
    logs of the last run. Two at once need two states: the second waits for the first.
    """
    kept = state or state_folder()
    with ExitStack() as stack:
        stack.enter_context(_alone(kept))
        folder = stack.enter_context(_emptied(kept / "run"))
        stack.enter_context(cgroups.made(_cgroup(kept)))
        enclosure = stack.enter_context(enclosed(_mounts(kept, folder)))
        # Services' addresses exist in the proxy's rules only; a packet needs a route to get as far as those.
        enclosure.run("ip", "route", "add", _SERVICES, "dev", "eth0")
        rig = _rig(enclosure, kept, folder)
        stack.callback(_kill, rig)
        yield _started(rig)


def _started(rig: NodeRig) -> NodeRig:
    rig.registry.process.start()
    rig.base_image("pause")
    rig.containerd.start()
    _forget_containers(rig)
    rig.control.start()
    for part in (rig.kubelet, rig.proxy, rig.dns):
        part.start()
    rig.kubectl.apply(*_volumes(rig.folder / "volumes"))
    wait_for(lambda: rig.ready, "the node to be ready")
    return rig


def _volumes(folder: Path) -> Iterator[dict[str, Any]]:
    """Folders of this machine for who claims storage: the kubelet gives them to a pod's group, as it does elsewhere.
    Nobody empties one that was used; each is taken once.
    """
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
    for number in range(_VOLUMES):
        path = folder / f"{number:02}"
        path.mkdir(parents=True)
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"local-{path.name}"},
            "spec": {
                "storageClassName": "local",
                "capacity": {"storage": "1Ti"},  # whatever is claimed fits; the disk is shared
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(path)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }


def _kill(rig: NodeRig) -> None:
    """Nothing of it is kept, and asked to end the API server would wait for its clients."""
    for part in (rig.dns, rig.proxy, rig.kubelet, rig.containerd, *rig.control.parts, rig.registry.process):
        part.kill()


def _forget_containers(rig: NodeRig) -> None:
    """Those of an earlier run, which ended with it. Its images stay."""
    listing = ("ctr", "--namespace", "k8s.io", "containers")
    if left := rig.enclosure.run(*listing, "list", "--quiet").split():
        rig.enclosure.run(*listing, "delete", *left)
        rig.containerd.restart()  # it had them in mind


# ── what the parts are told ───────────────────────────────────────────────────────────────────────────────────────────


def _mounts(state: Path, folder: Path) -> dict[Path, Path]:
    """Where the programs of a node look, whatever they are told, and what they see there."""
    return {
        Path("/var/lib/containerd"): state / "containerd",
        Path("/var/lib/kubelet"): folder / "kubelet",
        Path("/var/lib/cni"): folder / "cni",
        Path("/var/log/pods"): folder / "pods",
        Path("/var/log/containers"): folder / "containers",
    }


def _rig(enclosure: Enclosure, state: Path, folder: Path) -> NodeRig:
    options = Options(address=ADDRESS, port=6443, prefix=enclosure.network, services=_SERVICES)
    control = control_plane.control_plane(folder / "control", options)
    images = ImageStore(state)
    made_registry = registry(enclosure, state / "registry", folder / "docker-registry.log")
    parts = _Parts(enclosure, control, folder, _cgroup(state))
    return NodeRig(
        kubeconfig=control.kubeconfig,
        folder=folder,
        prefix=enclosure.network,
        enclosure=enclosure,
        control=control,
        registry=made_registry,
        images=images,
        containerd=parts.containerd(made_registry, images.base("pause").tag),
        kubelet=parts.kubelet(),
        proxy=parts.proxy(),
        dns=parts.dns(),
    )


@dataclass(frozen=True)
class _Parts:
    """The programs of the node, each with the files that it reads."""

    enclosure: Enclosure
    control: ControlPlane
    folder: Path
    cgroup: str

    def containerd(self, pulled_from: Registry, pause: str) -> InsideProcess:
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,  # a pod may be its own service's only end
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": _PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        folder = self.folder / "cni.d"
        folder.mkdir()
        (folder / "pods.conflist").write_text(json.dumps(network))
        file = self.folder / "containerd.toml"
        file.write_text(
            f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pulled_from.reference("auteur-base/pause", pause)}"
# Without the right to raise limits, asking for a lower score ends every sandbox.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
# What the registry has beside it need not be kept twice.
discard_unpacked_layers = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}"
"""
        )
        log = self.folder / "containerd.log"
        argv = ("containerd", "--config", file, "--log-level", "warn")
        return self.enclosure.process("containerd", argv, log, self._containerd_answers)

    def _containerd_answers(self) -> bool:
        asked = (*self.enclosure.inside, "ctr", "--timeout", "2s", "version")
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    def kubelet(self) -> InsideProcess:
        server = self.control.authority.issue("kubelet", user=NAME, hosts=(NAME, ADDRESS))
        resolv = self.folder / "resolv.conf"
        resolv.write_text(f"nameserver {ADDRESS}\n")
        configuration = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.control.authority.pair.certificate)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(server.certificate),
            "tlsPrivateKeyFile": str(server.key),
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "clusterDNS": [ADDRESS],
            "clusterDomain": DOMAIN,
            "resolvConf": str(resolv),
            "maxPods": 250,
            "serializeImagePulls": False,
            # The disk is the machine's: how full it is says nothing about the node, and images are kept.
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
        }
        file = self.folder / "kubelet.yaml"
        file.write_text(yaml.safe_dump(configuration))
        kubeconfig = self.control.user("node", user=f"system:node:{NAME}", groups=["system:nodes"])
        argv = (
            binaries.find("kubelet"),
            f"--config={file}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
        )
        healthy = "http://127.0.0.1:10248/healthz"
        return self.enclosure.process("kubelet", argv, self.folder / "kubelet.log", self._answering(healthy))

    def proxy(self) -> InsideProcess:
        kubeconfig = self.control.user("kube-proxy", user="system:kube-proxy")
        configuration = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": NAME,
            "clusterCIDR": _PODS,
            "mode": "nftables",
            "nftables": {"minSyncPeriod": "50ms"},  # the rules are few here; the default is a second
            "conntrack": {"maxPerCore": 0},  # the machine's limit stays as it is
            "healthzBindAddress": "127.0.0.1:10256",
        }
        file = self.folder / "kube-proxy.yaml"
        file.write_text(yaml.safe_dump(configuration))
        argv = (binaries.find("kube-proxy"), f"--config={file}")
        healthy = "http://127.0.0.1:10256/healthz"
        return self.enclosure.process("kube-proxy", argv, self.folder / "kube-proxy.log", self._answering(healthy))

    def dns(self) -> InsideProcess:
        kubeconfig = self.control.user("dns", user="coredns", groups=[ADMIN_GROUP])
        file = self.folder / "Corefile"
        file.write_text(
            f"""\
{DOMAIN}:53 in-addr.arpa:53 {{
    bind {ADDRESS}
    ready 127.0.0.1:8181
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 1
    }}
}}
.:53 {{
    bind {ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
        )
        argv = (binaries.find("coredns"), "-conf", file)
        return self.enclosure.process(
            "coredns", argv, self.folder / "coredns.log", self._answering("http://127.0.0.1:8181/ready")
        )

    def _answering(self, url: str) -> Callable[[], bool]:
        return lambda: self.enclosure.answers(url)


# ── one at a time, and nothing left ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """A store of images has one containerd."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a+") as file:
        wait_for(lambda: _taken(file.fileno()), f"another node rig to end, which uses {state}", seconds=_LOCKED_FOR)
        yield


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Without what a killed run left there. Its logs outlive it, until those of the next run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        logs = folder.with_name("logs")
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        for log in (*folder.glob("*.log"), *folder.glob("control/*.log")):
            shutil.move(log, logs)
        shutil.rmtree(folder)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cgroup(state: Path) -> str:
    """Named for what is locked, so that a later run finds what a killed one left."""
    return f"auteur-node-{zlib.crc32(bytes(state)):08x}"
