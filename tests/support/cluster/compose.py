"""A compose file run by podman, without a daemon, in an enclosure of its own. Images come from the builder's store:
what `ImageStore.build` made is there by its id, or by the name that `ImageStore.tag` gave it; nothing is pulled.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import cgroups
from tests.support.cluster.images import ImageStore, state_folder
from tests.support.cluster.network import Enclosure, enclosed

# Podman would raise the hard limits, which takes CAP_SYS_RESOURCE. runc, because crun refuses control groups of both
# kinds side by side. Without systemd there is neither its journal nor its way to make control groups.
_CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{networks}"
default_subnet = "198.18.1.0/24"
default_subnet_pools = [{{"base" = "198.18.64.0/18", "size" = 24}}]
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{graph}"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = ["{images}"]
"""


@dataclass(frozen=True)
class Compose:
    """See `composing`, which makes one."""

    file: Path
    enclosure: Enclosure
    environment: Mapping[str, str]

    def __call__(self, *words: str, seconds: float = 120) -> str:
        """`podman-compose`, with the file: what it printed."""
        return self._run("podman-compose", "--file", str(self.file), *words, seconds=seconds)

    def podman(self, *words: str, seconds: float = 60) -> str:
        """Containers are named `<folder of the file>_<service>_1`."""
        return self._run("podman", *words, seconds=seconds)

    def up(self, *services: str, seconds: float = 120) -> None:
        """Returns when the containers were started. It does not wait for them to be ready."""
        self("up", "--detach", "--no-build", *services, seconds=seconds)

    def logs(self, service: str) -> str:
        return self.podman("logs", self.container(service))

    def healthy(self, service: str) -> bool:
        """What the service's health check says now. Nobody asks it regularly where there is no systemd."""
        asked = ("podman", "healthcheck", "run", self.container(service))
        return self._done(*asked, seconds=60).returncode == 0

    def container(self, service: str) -> str:
        return f"{self.file.parent.name}_{service}_1"

    def port(self, published: int) -> int:
        """The port on the machine's loopback through which a published port is reached from outside the enclosure."""
        return self.enclosure.forward(published)

    def _run(self, *words: str, seconds: float) -> str:
        done = self._done(*words, seconds=seconds)
        # podman-compose ends well when a podman that it started did not. It looks for a volume before it makes it.
        errors = [line for line in done.stderr.splitlines() if "Error:" in line and "no such volume" not in line]
        failed = done.returncode != 0 or bool(errors)
        assert not failed, f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _done(self, *words: str, seconds: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            (*self.enclosure.inside, *words),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, **self.environment},
        )


@contextmanager
def composing(
    file: Path, environment: Mapping[str, str] | None = None, images: ImageStore | None = None
) -> Iterator[Compose]:
    """Nothing is up yet; at the end nothing is left, neither containers nor volumes."""
    with ExitStack() as stack:
        store = images or ImageStore(state_folder())
        folder = stack.enter_context(_own_folder(store.folder / "compose"))
        for hierarchy in cgroups.hierarchies():
            stack.callback(cgroups.remove_unused, hierarchy / "libpod_parent")
        settings = _settings(folder, store)
        enclosure = stack.enter_context(enclosed({Path("/var/lib/containers"): folder / "containers"}))
        # Of a container whose memory was full, conmon leaves a file of this name where podman-compose was started.
        stack.callback((file.resolve().parent / "oom").unlink, missing_ok=True)
        yield Compose(file.resolve(), enclosure, {**settings, **(environment or {})})


def _settings(folder: Path, images: ImageStore) -> dict[str, str]:
    containers, storage = folder / "containers.conf", folder / "storage.conf"
    containers.write_text(_CONTAINERS.format(networks=folder / "networks"))
    storage.write_text(_STORAGE.format(graph=folder / "storage", images=images.storage))
    return {
        "CONTAINERS_CONF": str(containers),
        "CONTAINERS_STORAGE_CONF": str(storage),
        "DISABLE_HC_SYSTEMD": "true",  # else a container with a health check does not start
    }


@contextmanager
def _own_folder(parent: Path) -> Iterator[Path]:
    """An empty one. Those of runs that were killed are removed: nobody holds their locks any more."""
    parent.mkdir(parents=True, exist_ok=True)
    for other in parent.iterdir():
        with contextlib.suppress(OSError), (other / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other)
    folder = Path(tempfile.mkdtemp(dir=parent))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
