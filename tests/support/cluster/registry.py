"""The registry of images inside an enclosure: what the node pulls from, and where it finds that an image is missing."""

import http.client
from dataclasses import dataclass
from pathlib import Path

import yaml

from auteur_standalone.servers import LOOPBACK
from tests.support.cluster.network import Enclosure, InsideProcess

PORT = 5000
# containerd speaks plain HTTP to a registry of this name, without being told.
HOST = f"localhost:{PORT}"


@dataclass(frozen=True)
class Registry:
    """See `registry`, which makes one."""

    process: InsideProcess
    enclosure: Enclosure

    def has(self, name: str, tag: str) -> bool:
        return self.enclosure.call(_has, name, tag)

    @staticmethod
    def reference(name: str, tag: str) -> str:
        """What a pod's `image` says."""
        return f"{HOST}/{name}:{tag}"


def registry(enclosure: Enclosure, folder: Path, log: Path) -> Registry:
    """Not yet started. What it holds stays in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
        "http": {"addr": f"{LOOPBACK}:{PORT}"},
    }
    file = log.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(configuration))
    argv = ("docker-registry", "serve", file)
    process = enclosure.process("docker-registry", argv, log, lambda: enclosure.listens(PORT))
    return Registry(process, enclosure)


# To who accepts something else only, the registry says that it has nothing.
_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def _has(name: str, tag: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, PORT, timeout=10)
    try:
        connection.request("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": _MANIFESTS})
        return connection.getresponse().status == 200
    finally:
        connection.close()
