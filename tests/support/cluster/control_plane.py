"""A real control plane from its own programs: etcd, API server, controller manager, scheduler. Each can be killed,
paused and started again; RBAC and node authorization are on, and priority and fairness as everywhere.
"""

import ipaddress
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from auteur_standalone.servers import LOOPBACK
from tests.support.cluster import binaries
from tests.support.cluster.certificates import ADMIN_GROUP, Authority, write_kubeconfig
from tests.support.cluster.kubectl import NO_PROXY, Kubectl
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess

_FRONT_PROXY = "front-proxy"
_ISSUER = "https://kubernetes.default.svc.cluster.local"
# Metadata of every request, once each; events are many and say nothing about who decided what.
_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    resources: [{group: "", resources: [events]}, {group: events.k8s.io, resources: [events]}]
  - level: Metadata
"""


@dataclass(frozen=True)
class Options:
    """What differs between control planes. The defaults make one on loopback, whose nodes are only played."""

    address: str = LOOPBACK
    """Where the API server listens and, unless it is loopback, what pods reach as the service `kubernetes`."""
    port: int = 0
    """The API server's; 0 takes a free one."""
    prefix: tuple[str, ...] = ()
    """Put before each program: `nsenter --net=…` for a network namespace of the test's own."""
    hosts: tuple[str, ...] = ()
    """More names and addresses for the API server's certificate."""
    services: str = "10.96.0.0/16"
    """The range of the services' addresses; its first is the API server's."""
    audit: bool = False
    """Write an audit log: a line of metadata for each request, except those about events."""
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """More flags, by program. Of a flag given twice the last counts."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that tests talk to, whoever runs it."""

    kubeconfig: Path
    """The administrator's."""
    folder: Path
    """For what belongs to this cluster: more kubeconfigs, logs."""
    prefix: tuple[str, ...] = ()
    """How programs enter the network where the cluster listens."""

    @classmethod
    def existing(cls, kubeconfig: Path, folder: Path) -> "Cluster":
        """One that somebody else runs. The tests work on a copy: the person's own file and folder stay as they are."""
        view = Kubectl(kubeconfig, cache=folder)("config", "view", "--raw", "--minify", "--flatten")
        copy = folder / "admin.kubeconfig"
        copy.touch(mode=0o600)
        copy.write_text(view)
        return cls(kubeconfig=copy, folder=folder)

    @property
    def kubectl(self) -> Kubectl:
        """As the administrator."""
        return Kubectl(self.kubeconfig, prefix=self.prefix)

    def service_account(self, namespace: str, name: str, *, seconds: int = 3600) -> Path:
        """The kubeconfig of a service account that exists, with a token as its pods get it: RBAC is really asked."""
        token = self.kubectl.within(namespace)("create", "token", name, f"--duration={seconds}s").strip()
        seen = self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
        path = self.folder / f"{namespace}-{name}.kubeconfig"
        return write_kubeconfig(path, json.loads(seen)["clusters"][0]["cluster"], {"token": token})


@dataclass(frozen=True, kw_only=True)
class ControlPlane(Cluster):
    """See `control_plane`, which makes one."""

    options: Options
    authority: Authority
    url: str
    etcd: ServerProcess
    apiserver: ServerProcess
    controller_manager: ServerProcess
    scheduler: ServerProcess

    def start(self) -> "ControlPlane":
        """Returns when all of them are ready."""
        for part in self.parts:
            part.start()
        return self

    def stop(self) -> None:
        for part in reversed(self.parts):
            part.stop()

    @property
    def parts(self) -> tuple[ServerProcess, ...]:
        """In the order of starting."""
        return (self.etcd, self.apiserver, self.controller_manager, self.scheduler)

    def user(self, name: str, *, user: str, groups: Iterable[str] = ()) -> Path:
        """The kubeconfig of somebody with a client certificate, such as a node (`system:node:…`, `system:nodes`)."""
        pair = self.authority.issue(name, user=user, groups=groups)
        return self.authority.kubeconfig(self.folder / f"{name}.kubeconfig", self.url, pair)

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def audited(self, start: int = 0) -> Iterator[Any]:
        """The lines of the audit log so far, parsed; from `start`, a size that the log had at a line's end."""
        with self.audit_log.open("rb") as lines:
            lines.seek(start)
            yield from (json.loads(line) for line in lines if line.endswith(b"\n"))


def control_plane(folder: Path, options: Options | None = None) -> ControlPlane:
    """Not yet started. All its files, data and logs are in `folder`, which must not exist yet."""
    chosen = options or Options()
    authority = Authority.create(folder / "certificates")
    port, etcd_port, manager_port, scheduler_port = free_ports(4)
    address = f"[{chosen.address}]" if ":" in chosen.address else chosen.address
    url, etcd_url = f"https://{address}:{chosen.port or port}", f"http://{LOOPBACK}:{etcd_port}"
    layout = _Layout(folder, chosen, authority, url, chosen.port or port, etcd_url, manager_port, scheduler_port)
    admin = authority.issue("admin", user="admin", groups=[ADMIN_GROUP])
    return ControlPlane(
        kubeconfig=authority.kubeconfig(folder / "admin.kubeconfig", url, admin),
        folder=folder,
        prefix=chosen.prefix,
        options=chosen,
        authority=authority,
        url=url,
        etcd=layout.process("etcd", layout.etcd(), f"{etcd_url}/readyz"),
        apiserver=layout.process("kube-apiserver", layout.apiserver(), f"{url}/readyz"),
        controller_manager=layout.process(
            "kube-controller-manager", layout.controller_manager(), f"https://{LOOPBACK}:{manager_port}/healthz"
        ),
        scheduler=layout.process("kube-scheduler", layout.scheduler(), f"https://{LOOPBACK}:{scheduler_port}/readyz"),
    )


@contextmanager
def running(folder: Path, options: Options | None = None) -> Iterator[ControlPlane]:
    """Up and ready, and nothing left at the end."""
    made = control_plane(folder, options)
    try:
        yield made.start()
    finally:
        made.stop()


_ROOMY = {"GOGC": "400"}
"""With the default Go's collector takes a fifth of the API server's time. Memory is not what a test runs out of."""

# ── the programs' words ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Layout:
    """Where each program listens and keeps its files, and so its command line."""

    folder: Path
    options: Options
    authority: Authority
    url: str
    port: int
    etcd_url: str
    controller_manager_port: int
    scheduler_port: int

    def process(self, program: str, words: Sequence[str], ready_url: str) -> ServerProcess:
        more = self.options.arguments.get(program, ())
        argv = (*self.options.prefix, str(binaries.find(program)), *words, *more)
        log = self.folder / f"{program}.log"
        return ServerProcess(
            program, argv, log, ready_probe(ready_url, self.options.prefix), env={**NO_PROXY, **_ROOMY}
        )

    def etcd(self) -> tuple[str, ...]:
        return (
            "--name=test",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            "--listen-peer-urls=http://localhost:0",
            # A test may lose its data with the machine, and does not wait for its disk. A killed etcd loses nothing.
            "--unsafe-no-fsync",
            "--quota-backend-bytes=8589934592",
            "--log-level=warn",
        )

    def apiserver(self) -> tuple[str, ...]:
        options, authority = self.options, self.authority
        hosts = (options.address, LOOPBACK, _first_of(options.services), *_SERVICE_NAMES, *options.hosts)
        server = authority.issue("apiserver", user="kube-apiserver", hosts=dict.fromkeys(hosts))
        kubelets = authority.issue("apiserver-kubelet", user="kube-apiserver-kubelet-client", groups=[ADMIN_GROUP])
        proxy = authority.issue("front-proxy", user=_FRONT_PROXY)
        return (
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={options.address}",
            f"--advertise-address={options.address}",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={authority.pair.certificate}",
            f"--kubelet-client-certificate={kubelets.certificate}",
            f"--kubelet-client-key={kubelets.key}",
            # For API servers behind this one. The same authority signs everybody, so the name decides who may speak so.
            f"--requestheader-client-ca-file={authority.pair.certificate}",
            f"--requestheader-allowed-names={_FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
            # The default asks DNS for the node's name first: `kubectl logs` would fail.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer={_ISSUER}",
            f"--service-account-key-file={authority.tokens.public}",
            f"--service-account-signing-key-file={authority.tokens.key}",
            f"--service-cluster-ip-range={options.services}",
            # Endpoints cannot be loopback addresses: the reconciler would complain for ever.
            *(("--endpoint-reconciler-type=none",) if ipaddress.ip_address(options.address).is_loopback else ()),
            "--authorization-mode=Node,RBAC",
            # The second is off by default, on where tenants are strangers: OpenShift, for one.
            "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            "--allow-privileged=true",
            "--enable-priority-and-fairness=true",
            "--max-requests-inflight=2000",
            "--max-mutating-requests-inflight=1000",
            *self._audit(),
        )

    def _audit(self) -> tuple[str, ...]:
        if not self.options.audit:
            return ()
        policy = self.folder / "audit-policy.yaml"
        policy.write_text(_AUDIT_POLICY)
        # One file, however long: tests read it whole.
        rotation = "--audit-log-maxsize=100000"
        return (f"--audit-policy-file={policy}", f"--audit-log-path={self.folder / 'audit.log'}", rotation)

    def controller_manager(self) -> tuple[str, ...]:
        ca = self.authority.pair
        return (
            *self._client("kube-controller-manager"),
            f"--secure-port={self.controller_manager_port}",
            f"--service-account-private-key-file={self.authority.tokens.key}",
            f"--root-ca-file={ca.certificate}",
            f"--cluster-signing-cert-file={ca.certificate}",
            f"--cluster-signing-key-file={ca.key}",
            "--use-service-account-credentials=true",  # each controller with its own role, as in production
            "--concurrent-job-syncs=20",
        )

    def scheduler(self) -> tuple[str, ...]:
        return (*self._client("kube-scheduler"), f"--secure-port={self.scheduler_port}")

    def _client(self, program: str) -> tuple[str, ...]:
        """What the API server's own clients have in common."""
        pair = self.authority.issue(program, user=f"system:{program}")
        kubeconfig = self.authority.kubeconfig(self.folder / f"{program}.kubeconfig", self.url, pair)
        return (
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={LOOPBACK}",
            f"--cert-dir={self.folder / 'certificates' / program}",
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )


_SERVICE_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


def _first_of(network: str) -> str:
    return str(next(ipaddress.ip_network(network).hosts()))


# ── whether they answer ───────────────────────────────────────────────────────────────────────────────────────────────


def ready_probe(url: str, prefix: Sequence[str] = ()) -> Callable[[], bool]:
    """Does a server say 200 at `url`, as seen from the network that `prefix` enters?"""
    return partial(_answers_inside, url, prefix) if prefix else partial(_answers, url)


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# The same in a process of its own. Not kubectl: it asks for a password where it was given no identity.
_ASK = """\
import ssl, sys, urllib.request
sys.exit(urllib.request.urlopen(sys.argv[1], timeout=2, context=ssl._create_unverified_context()).status != 200)
"""


def _answers_inside(url: str, prefix: Sequence[str]) -> bool:
    argv = (*prefix, sys.executable, "-I", "-c", _ASK, url)
    return subprocess.run(argv, capture_output=True, check=False, env={**os.environ, **NO_PROXY}).returncode == 0


def _opener() -> urllib.request.OpenerDirector:
    """Whether it answers is asked here, not who it is: the controllers make up certificates of their own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


_OPENER = _opener()
