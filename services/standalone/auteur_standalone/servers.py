"""The third-party servers of one machine, nats-server and SeaweedFS: configuration, command line, environment.

Pure: callers write the files and start the programs.
"""

import hmac
import json
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from auteur_standalone import certificates

LOOPBACK = "127.0.0.1"


class BinaryMissing(Exception):
    """A server's program is not installed."""


@dataclass(frozen=True)
class NatsServer:
    port: int
    folder: Path
    """Where JetStream keeps its files."""
    user: str
    password: str


@dataclass(frozen=True)
class StorePorts:
    """Every port SeaweedFS opens. Each is named: its defaults would meet those of another SeaweedFS on the machine."""

    s3: int
    s3_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    filer: int
    filer_grpc: int
    admin: int
    admin_grpc: int

    @classmethod
    def count(cls) -> int:
        return len(cls.__dataclass_fields__)

    @classmethod
    def of(cls, ports: Sequence[int]) -> "StorePorts":
        return cls(*ports)

    def all(self) -> tuple[int, ...]:
        return astuple(self)


@dataclass(frozen=True)
class StoreServer:
    ports: StorePorts
    folder: Path
    certificates: Path
    """What its parts show each other: see `certificates`."""
    access_key: str
    secret_key: str
    max_volumes: int = 0
    """0: as many as the disk has room for."""


def find_binary(name: str) -> Path:
    """The program that came with its wheel into this environment, else the one on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise BinaryMissing(f"{name} is not installed: pip install 'auteur[standalone]', or name a server by its URL")
    return Path(found)


def nats_config(server: NatsServer) -> str:
    """`sync_interval: always` stands on a line of its own: the parser reads two settings on one line as one value."""
    return "\n".join(
        (
            f"listen: {LOOPBACK}:{server.port}",
            "server_name: auteur",
            "max_payload: 8MB",
            "authorization {",
            f"  user: {json.dumps(server.user)}",
            f"  password: {json.dumps(server.password)}",
            "}",
            "jetstream {",
            f"  store_dir: {json.dumps(str(server.folder))}",
            "  sync_interval: always",
            "}",
            "",
        )
    )


def nats_argv(binary: Path, config: Path) -> tuple[str, ...]:
    return (str(binary), "-c", str(config))


def store_argv(binary: Path, server: StoreServer) -> tuple[str, ...]:
    """`weed mini`: master, volume, filer and S3 in one process, on loopback, without what we do not use. Its reports
    home (`master.telemetry`) are off. Every user of the machine, and every web page that one of them looks at, reaches
    loopback: but for S3, which asks for a key, nobody is answered over HTTP, and over gRPC only who has a certificate.
    """
    ports = server.ports
    return (
        str(binary),
        "-logtostderr=true",
        "mini",
        "-disableHttp",
        f"-dir={server.folder}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-master.port={ports.master}",
        f"-master.port.grpc={ports.master_grpc}",
        "-master.telemetry=false",
        f"-volume.port={ports.volume}",
        f"-volume.port.grpc={ports.volume_grpc}",
        f"-volume.max={server.max_volumes}",
        "-volume.preStopSeconds=0",
        f"-filer.port={ports.filer}",
        f"-filer.port.grpc={ports.filer_grpc}",
        f"-filer.localSocket={server.folder / 'filer.sock'}",
        f"-s3.port={ports.s3}",
        f"-s3.port.grpc={ports.s3_grpc}",
        f"-s3.localSocket={server.folder / 's3.sock'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-admin.port={ports.admin}",
        f"-admin.port.grpc={ports.admin_grpc}",
        "-admin.ui=false",
        "-webdav=false",
    )


def store_environment(server: StoreServer) -> dict[str, str]:
    """The keys become SeaweedFS's admin identity. Without the memory limit Go holds what it needs several times over;
    with half of it, it spends more time on collecting than on storing (1.2 ms for two objects became 7).
    """
    shown = server.certificates
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "GOMEMLIMIT": "512MiB",
        **{f"WEED_JWT_{key}": _derived(server.secret_key, key) for key in _SIGNING_KEYS},
        "WEED_GRPC_CA": str(shown / certificates.AUTHORITY),
        **{f"WEED_GRPC_{part}_CERT": str(shown / certificates.CERTIFICATE) for part in _GRPC_PARTS},
        **{f"WEED_GRPC_{part}_KEY": str(shown / certificates.KEY) for part in _GRPC_PARTS},
    }


_SIGNING_KEYS = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
"""By which its parts believe each other over HTTP."""
_GRPC_PARTS = ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "CLIENT")


def _derived(secret: str, name: str) -> str:
    """A secret of its own for each use, from the one that is kept."""
    return hmac.new(secret.encode(), name.encode(), "sha256").hexdigest()
