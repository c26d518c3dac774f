"""Real servers as child processes, to be started, killed and started again: NATS, SeaweedFS, MinIO and PostgreSQL."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_standalone import certificates, servers
from auteur_standalone.probes import get_store
from auteur_standalone.processes import die_with_parent
from tests.support.cluster import binaries
from tests.support.ports import free_ports
from tests.support.waiting import wait_for


@dataclass
class ServerProcess:
    """One server. It keeps its port and data through `kill` and `start`, and dies with the test session."""

    name: str
    argv: Sequence[str]
    log: Path
    is_ready: Callable[[], bool]
    env: dict[str, str] = field(default_factory=dict)
    user: int | None = None
    """The user id to run as, for servers that refuse root."""
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "ServerProcess":
        """Returns when the server answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # the function makes one system call
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                env={**os.environ, **self.env},
                user=self.user,
                group=self.user and pwd.getpwuid(self.user).pw_gid,
                extra_groups=None if self.user is None else [],
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  # it only makes system calls
            )
        wait_for(self._ready_or_dead, f"{self.name} to start; its log: {self.log}")
        return self

    def _ready_or_dead(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise AssertionError(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
        return self.is_ready()

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} does not run"
        return self.process.pid

    @property
    def ended(self) -> bool:
        """It was started, and ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """As by `kill -9`."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(self.stop_signal)

    def restart(self) -> None:
        """`kill -9`, then the same server on the same port with the same data."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Takes connections and answers nothing, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None


# ── NATS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def nats_server(folder: Path) -> tuple[ServerProcess, NatsSettings]:
    """A server, not yet started, and how to reach it."""
    server = servers.NatsServer(free_ports(1)[0], folder / "jetstream", "auteur", "nats-secret")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text(servers.nats_config(server))
    argv = servers.nats_argv(servers.find_binary("nats-server"), config)
    process = ServerProcess("nats-server", argv, folder / "nats.log", lambda: _says_info(server.port))
    url = f"nats://{servers.LOOPBACK}:{server.port}"
    return process, NatsSettings.model_validate({"url": url, "user": server.user, "password": server.password})


def _says_info(port: int) -> bool:
    try:
        with socket.create_connection((servers.LOOPBACK, port), 1) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False


def variables_of(nats: NatsSettings, store: StoreSettings | None = None) -> dict[str, str]:
    """How a program of ours is told of the servers: in its environment."""
    found = {"NATS__URL": nats.url, "NATS__USER": nats.user, "NATS__PASSWORD": nats.password.get_secret_value()}
    if store is not None:
        found |= {"STORE__URL": store.url, "STORE__BUCKET": store.bucket, "STORE__ACCESS_KEY": store.access_key}
        found |= {"STORE__SECRET_KEY": store.secret_key.get_secret_value()}
    return {f"AUTEUR_{name}": value for name, value in found.items()}


async def delete_streams(bus: Bus) -> None:
    """All of the server, buckets of keys among them: as if it was new."""
    for stream in await bus.js.streams_info():
        assert stream.config.name is not None
        await bus.js.delete_stream(stream.config.name)


# ── S3 ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def store_server(folder: Path) -> tuple[ServerProcess, StoreSettings]:
    """A server, not yet started, and how to reach it."""
    ports = servers.StorePorts.of(free_ports(servers.StorePorts.count()))
    # A bucket takes some volumes of its own, and every test has a bucket of its own.
    server = servers.StoreServer(ports, folder / "data", folder / "tls", "auteur", "store-secret-key", max_volumes=1000)
    server.folder.mkdir(parents=True, exist_ok=True)
    certificates.ensure(server.certificates)
    url = f"http://{servers.LOOPBACK}:{ports.s3}"
    process = ServerProcess(
        "weed",
        servers.store_argv(servers.find_binary("weed"), server),
        folder / "weed.log",
        lambda: get_store(url, ports),
        env=servers.store_environment(server),
    )
    settings = {"url": url, "access_key": server.access_key, "secret_key": server.secret_key}
    return process, StoreSettings.model_validate(settings)


def minio_server(folder: Path) -> tuple[ServerProcess, StoreSettings]:
    """As `store_server`, by MinIO. Raises MissingTools where `scripts/cluster-tools minio` did not build it."""
    s3, console = free_ports(2)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"url": f"http://{servers.LOOPBACK}:{s3}", "access_key": "auteur", "secret_key": "minio-secret-key"}
    argv = minio_argv(folder, f"{servers.LOOPBACK}:{s3}", f"{servers.LOOPBACK}:{console}")
    process = ServerProcess(
        "minio",
        argv,
        folder / "minio.log",
        lambda: _says_ok(f"{settings['url']}/minio/health/cluster"),
        env=minio_environment(settings["access_key"], settings["secret_key"]),
    )
    return process, StoreSettings.model_validate(settings)


def minio_argv(folder: Path, address: str, console: str) -> tuple[str, ...]:
    places = (f"--address={address}", f"--console-address={console}", f"--certs-dir={folder / 'certificates'}")
    return (str(binaries.find("minio")), "server", "--quiet", *places, str(folder / "data"))


def minio_environment(access_key: str, secret_key: str) -> dict[str, str]:
    return {"MINIO_ROOT_USER": access_key, "MINIO_ROOT_PASSWORD": secret_key, "MINIO_BROWSER": "off"}


def _says_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310  # our own http URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_postgres() -> Path | None:
    """The folder with `initdb` and `postgres`; None where PostgreSQL is not installed."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    candidates = [*packaged, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((path for path in candidates if (path / "initdb").exists() and (path / "postgres").exists()), None)


def postgres_server(binaries: Path, folder: Path) -> tuple[ServerProcess, str]:
    """A server, not yet started, and its URL without a database: `postgresql+asyncpg://auteur@127.0.0.1:<port>`.
    `folder` must be one that an unprivileged user can reach: PostgreSQL refuses to run as root.
    """
    user = _unprivileged_user()
    data, port = folder / "data", free_ports(1)[0]
    if user is not None:
        os.chown(folder, user, pwd.getpwuid(user).pw_gid)
    subprocess.run(
        (binaries / "initdb", "-D", data, "-U", "auteur", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"),
        check=True,
        capture_output=True,
        cwd=folder,
        user=user,
        group=user and pwd.getpwuid(user).pw_gid,
        extra_groups=None if user is None else [],
    )
    settings = {
        "listen_addresses": servers.LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": "60",
    }
    argv = [str(binaries / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    process = ServerProcess(
        "postgres",
        argv,
        folder / "postgres.log",
        lambda: _accepts(binaries, port),
        user=user,
        stop_signal=signal.SIGINT,  # "fast": closes the sessions that are open
    )
    return process, f"postgresql+asyncpg://auteur@{servers.LOOPBACK}:{port}"


def _unprivileged_user() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    return 65534


def _accepts(binaries: Path, port: int) -> bool:
    ask = (binaries / "pg_isready", "-q", "-h", servers.LOOPBACK, "-p", str(port), "-U", "auteur", "-d", "postgres")
    return subprocess.run(ask, check=False).returncode == 0
