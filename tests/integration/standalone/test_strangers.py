"""Loopback is everybody's: every user of the machine, and every web page that one of them looks at, reaches what
listens there. Whatever of the stack listens is found by asking the system, and asked as a stranger would.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import CHECKOUT, Stack

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux says which process listens where"),
]
REFUSED = ("0", "400", "401", "403", "404", "405")
NOBODY = "65534"
_LISTENS = "0A"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(tmp_path_factory.mktemp("strangers") / "home")
    found.add_echo()
    found.up()
    yield found
    found.end()


@pytest.fixture(scope="module")
def sockets(stack: Stack) -> list[str]:
    """Ports and paths on which a process of the stack listens."""
    open_files = {inode for pid in _family(stack.state.pid) for inode in _sockets_of(pid)}
    return sorted({*_tcp(open_files), *_unix(open_files)})


@pytest.fixture(scope="module")
def answers(sockets: list[str]) -> dict[str, Any]:
    """What a stranger is told: another user, where we may become one."""
    asked = (sys.executable, "-m", "tests.support.knock", NOBODY, *sockets)
    told = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=False)
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _sockets_of(pid: int) -> list[str]:
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(path.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return [link[len("socket:[") : -1] for link in links if link.startswith("socket:[")]


def _tcp(inodes: set[str]) -> list[str]:
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    rows = [line.split() for line in lines]
    return [str(int(row[1].rpartition(":")[2], 16)) for row in rows if row[3] == _LISTENS and row[9] in inodes]


def _unix(inodes: set[str]) -> list[str]:
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [row[7] for row in rows if row[6] in inodes and len(row) == 8 and row[7].startswith("/")]


def test_everything_that_listens_is_found(stack: Stack, sockets: list[str]) -> None:
    ports = stack.config.ports
    known = {stack.port, ports.nats, *ports.store.all()}
    assert {int(name) for name in sockets if name.isdigit()} == known


def test_nothing_is_shown_to_a_stranger_and_nothing_done_for_one(stack: Stack, answers: dict[str, Any]) -> None:
    ports = stack.config.ports
    # It shows names, sizes and versions, whatever the verb, and does nothing.
    status_page = {(str(ports.store.master), asked) for asked in ("GET /", "POST /")}
    for name, told in answers.items():
        if not name.isdigit():
            continue
        if int(name) == stack.port:
            continue
        let_in = {asked for asked, status in told["http"].items() if status.split()[0] not in REFUSED}
        assert {(name, asked) for asked in let_in} <= status_page, (name, told["http"])


def test_no_web_page_from_elsewhere_uses_the_gateway(stack: Stack, answers: dict[str, Any]) -> None:
    told = answers[str(stack.port)]["http"]
    assert {told["POST /v1/generations"], told["DELETE /v1/generations/some"]} == {"403"}
    assert not [asked for asked, status in told.items() if status.endswith("shown")]


def test_grpc_wants_a_certificate(stack: Stack, answers: dict[str, Any]) -> None:
    store = stack.config.ports.store
    for port in (store.s3_grpc, store.master_grpc, store.volume_grpc, store.filer_grpc, store.admin_grpc):
        assert (answers[str(port)]["tls"], answers[str(port)]["http2"]) == (False, False), port


def test_nats_wants_a_password(stack: Stack, answers: dict[str, Any]) -> None:
    assert "Authorization Violation" in answers[str(stack.config.ports.nats)]["nats"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_sockets_of_the_file_system_are_closed_to_others(answers: dict[str, Any]) -> None:
    assert not [path for path, let_in in answers.items() if not path.isdigit() and let_in]
