"""A machine within the machine, for what must not reach the outside: a network without a route, and processes and
mounts of its own. One process holds it; when that ends, however it ends, the kernel ends everything inside.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from auteur_standalone.processes import die_with_parent
from auteur_standalone.servers import LOOPBACK
from tests.support.servers import ServerProcess
from tests.support.waiting import wait_for

T = TypeVar("T")

# Of the block for tests of network devices (RFC 2544): nobody's, and no private network of the machine is hidden by it.
ADDRESS = "198.18.0.1"
_NETWORK = f"{ADDRESS}/24"

_CLONE_NEWNET = 0x40000000
_CHUNK = 1 << 18

# The first process inside. It ignores SIGCHLD, and `exec` keeps that: the kernel itself then collects the processes
# that others leave behind. A bridge, because not every kernel has `dummy` links. No default route: who asks for an
# address outside is told at once that it is unreachable.
_FIRST = """\
set -eu
ip link set lo up
ip link add eth0 type bridge
ip address add "$1" dev eth0
ip link set eth0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
shift
# Namespaces of others would live as long as this one.
awk '$3 == "nsfs" {print $2}' /proc/mounts | xargs -r umount
mount -t tmpfs -o mode=755 tmpfs /run
while [ $# != 0 ]; do
    mount --bind "$1" "$2"
    shift 2
done
trap '' CHLD
echo ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Enclosure:
    """See `enclosed`, which makes one."""

    pid: int
    """Its first process, as seen from outside."""
    _visitor: ThreadPoolExecutor
    """Threads that live in its network."""
    _relays: list["_Relay"] = field(default_factory=list)

    @property
    def network(self) -> tuple[str, ...]:
        """Put before a program that needs its network only. The program's process is the one that was started."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    @property
    def inside(self) -> tuple[str, ...]:
        """Put before a program that becomes one of its processes, with its mounts. See `InsideProcess`."""
        return ("nsenter", f"--target={self.pid}", "--net", "--pid", "--mount")

    def process(
        self, name: str, argv: Sequence[str | Path], log: Path, is_ready: Callable[[], bool], **more: Any
    ) -> "InsideProcess":
        return InsideProcess(name, (*self.inside, *map(str, argv)), log, is_ready, **more)

    def run(self, *argv: str | Path, seconds: float = 60) -> str:
        """What a program inside printed."""
        words = (*self.inside, *map(str, argv))
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{' '.join(map(str, argv))} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result, for functions that open sockets: they open in this network."""
        return self._visitor.submit(function, *arguments).result()

    def connect(self, port: int, address: str = LOOPBACK) -> socket.socket:
        return self.call(socket.create_connection, (address, port), 5)

    def listens(self, port: int, address: str = LOOPBACK) -> bool:
        try:
            self.connect(port, address).close()
        except OSError:
            return False
        return True

    def answers(self, url: str) -> bool:
        return self.call(_answers, url)

    def forward(self, port: int, address: str = LOOPBACK) -> int:
        """The port, on the loopback of the machine, through which programs outside reach a port inside."""
        relay = _Relay(lambda: self.connect(port, address))
        self._relays.append(relay)
        return relay.port

    def processes(self) -> tuple[int, ...]:
        """All that live inside, as seen from outside; containers too, which have a namespace of their own in ours."""
        mine = _namespace(self.pid, "pid")
        parents = {pid: _parent(pid) for pid in _all_processes()}
        inside = {pid for pid in parents if _namespace(pid, "pid") == mine}
        while more := {pid for pid, parent in parents.items() if parent in inside} - inside:
            inside |= more
        return tuple(sorted(inside))


@contextmanager
def enclosed(mounts: Mapping[Path, Path] | None = None) -> Iterator[Enclosure]:
    """`mounts`: folders inside, and the folders outside that are seen there. All of /run is empty and its own."""
    pairs = tuple(str(path) for inside, outside in (mounts or {}).items() for path in (outside, inside))
    for folder in pairs:
        Path(folder).mkdir(parents=True, exist_ok=True)
    unshare = ("unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
    holder = subprocess.Popen(
        (*unshare, "sh", "-c", _FIRST, "sh", _NETWORK, *pairs),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  # it only makes system calls
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n", "no network namespace could be made: that takes root on Linux"
        pid = _only_child(holder.pid)
        with ThreadPoolExecutor(4, "visitor", _enter_network, (pid,)) as visitor:
            made = Enclosure(pid, visitor)
            try:
                yield made
            finally:
                for relay in made._relays:
                    relay.close()
                inside = made.processes()
                holder.kill()
                wait_for(lambda: not any(map(_runs, inside)), "the enclosure's processes to end")
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()


class InsideProcess(ServerProcess):
    """A program inside an enclosure. What we started is nsenter, which waits; signals are for the program itself."""

    @property
    def pid(self) -> int:
        return _only_child(super().pid)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        for sent in (how, signal.SIGKILL):
            with contextlib.suppress(OSError):  # it has ended already
                os.kill(self.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                break
        self.process = None


# ── processes and namespaces ──────────────────────────────────────────────────────────────────────────────────────────


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if len(children) != 1:
        raise ProcessLookupError(f"process {pid} has {len(children)} children, not one")
    return int(children[0])


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it has ended


def _namespace(pid: int, kind: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""  # it has ended


def _runs(pid: int) -> bool:
    return bool(_namespace(pid, "pid"))


def _enter_network(pid: int) -> None:
    """For the calling thread only."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "the network namespace could not be entered")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# ── ways in ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Relay:
    """Takes connections on loopback and passes what they say to a connection that somebody else makes."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server((LOOPBACK, 0))
        self._open: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, name=f"relay-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Their sockets would keep the network alive."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # `accept` does not notice a mere close
        self._listener.close()
        for each in tuple(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._pass_both_ways, args=(near,), daemon=True).start()

    def _pass_both_ways(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), self._connect() as far:
            far.settimeout(None)
            self._open |= {near, far}
            back = threading.Thread(target=_pass, args=(far, near), daemon=True)
            back.start()
            _pass(near, far)
            back.join()
            self._open -= {near, far}


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
