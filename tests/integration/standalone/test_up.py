"""`auteur up` and its relatives on a real stack."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from auteur_standalone import processes
from auteur_standalone.state import PartState
from tests.support.stack import AUTEUR, Stack
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    found = Stack(tmp_path / "home")
    yield found
    found.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack with an echo worker, for the tests that leave it as it was: up and ready."""
    found = Stack(tmp_path_factory.mktemp("stack") / "home")
    found.add_echo()
    found.up()
    yield found
    found.end()


def run_echo(stack: Stack, text: str = "hello") -> str:
    """Returns where the job's output is served."""
    job = stack.finished(stack.submit(params={"text": text}))
    assert job["status"] == "done", job
    return str(job["outputs"][0]["url"])


def test_up_serves_jobs_and_down_stops_everything(stack: Stack) -> None:
    assert stack.auteur("status").returncode == 5
    stack.add_echo()
    told = stack.up()
    for word in ("nats ✓", "store ✓", "gateway ✓", "engine ✓", f"http://127.0.0.1:{stack.port}"):
        assert word in told.stdout
    assert stack.ready()
    run_echo(stack)
    pids = [part.pid for part in stack.state.parts] + [stack.state.pid]
    assert len(pids) == 6
    assert stack.auteur("status").returncode == 0
    assert stack.down().stdout == "stopped\n"
    assert not [pid for pid in pids if processes.start_time(pid)]
    assert not stack.layout.address.exists()
    assert stack.down().stdout == "nothing is running\n"


def test_a_second_up_says_that_it_runs_already(running: Stack) -> None:
    before = running.state
    second = running.auteur("up")
    assert (second.returncode, second.stdout) == (0, f"already running at {running.url}\n")
    assert running.state.pid == before.pid


def test_status_shows_parts_and_disk(running: Stack) -> None:
    told = json.loads(running.auteur("status", "-o", "json").stdout)
    assert (told["running"], told["ready"], told["url"]) == (True, True, running.url)
    assert [part["name"] for part in told["parts"]] == ["nats", "store", "gateway", "engine", "runner-echo"]
    assert {part["state"] for part in told["parts"]} == {"running"}
    run_echo(running)
    assert told["disk"]["used"]["s3"] > 0
    assert told["disk"]["free"] > 0
    text = running.auteur("status").stdout
    assert "gateway" in text
    assert "0 jobs running" in text, "one that is done runs no more"
    assert "free" in text


def test_secrets_are_on_no_command_line_and_in_no_log(running: Stack) -> None:
    secrets = running.config.secrets
    words = [secrets.nats.get_secret_value(), secrets.store.get_secret_value(), secrets.engine.get_secret_value()]
    shown = running.logs() + running.layout.log("store").read_text()
    for part in running.state.parts:
        shown += Path(f"/proc/{part.pid}/cmdline").read_text() if Path("/proc/self").exists() else ""
    assert not [word for word in words if word in shown]
    assert running.layout.config.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("part", ["nats", "store", "gateway", "engine", "runner-echo"])
def test_a_killed_part_is_started_again_and_work_goes_on(running: Stack, part: str) -> None:
    killed = running.kill(part)
    wait_for(lambda: running.is_back(part, killed), f"{part} to be started again")
    wait_for(running.ready, "the stack to be ready again")
    run_echo(running)
    assert running.part(part).restarts == 1
    assert running.auteur("up").returncode == 0


def test_server_logs_show_one_part_or_all(running: Stack) -> None:
    assert "engine ready" in running.auteur("server-logs", "engine").stdout
    assert running.auteur("server-logs", "echo").returncode == 0, "a runner goes by its own name"
    assert "gateway" in running.auteur("server-logs", "-n", "1").stdout
    unknown = running.auteur("server-logs", "nonsense")
    assert unknown.returncode == 4
    assert "there is: engine, gateway" in unknown.stderr


SHOUT = '''
from auteur_runner import Context, Function, Media

class Shout(Function):
    """Says it louder."""
    name = "shout"

    class Params(Function.Params):
        text: str

    class Output(Function.Output):
        said: Media["application/json"]

    def run(self, params: Params, ctx: Context) -> Output:
        return self.Output(said=ctx.save({"said": params.text.upper()}, "said.json"))
'''


def test_runners_come_and_go_while_the_stack_runs(running: Stack, tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(SHOUT)
    added = running.auteur("runners", "add", sys.executable, "shout:Shout", "--workers", "2", cwd=tmp_path)
    assert (added.returncode, added.stdout) == (0, "runner shout is registered: shout\n"), added.stderr
    wait_for(lambda: running.state.part("runner-shout-2"), "its workers to start")
    job = running.finished(running.submit(function="shout", params={"text": "hello"}))
    assert job["status"] == "done", job
    assert running.call("GET", job["outputs"][0]["url"].removeprefix(running.url)) == (200, {"said": "HELLO"})

    before = {name: running.part(name).pid for name in ("runner-shout-1", "runner-shout-2", "runner-echo")}
    (tmp_path / "shout.py").write_text(SHOUT.replace("params.text.upper()", 'params.text.upper() + "!"'))
    again = running.auteur("runners", "add", sys.executable, "shout:Shout", "--workers", "2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for name in ("runner-shout-1", "runner-shout-2"):
        wait_for(partial(running.is_back, name, before[name]), f"{name} to be started with the changed code")
    job = running.finished(running.submit(function="shout", params={"text": "hello"}))
    assert running.call("GET", job["outputs"][0]["url"].removeprefix(running.url)) == (200, {"said": "HELLO!"})
    assert running.part("runner-echo").pid == before["runner-echo"], "the others stay as they are"

    assert running.auteur("runners", "remove", "shout").returncode == 0
    wait_for(lambda: running.state.part("runner-shout-2") is None, "its workers to stop")
    assert running.state.part("runner-echo") is not None
    assert running.auteur("runners", "remove", "shout").returncode == 4


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("/no/such/python",), "is not a python that can be started"),
        ((sys.executable, "nowhere:Flip"), 'there is no module "nowhere"'),
        ((sys.executable, "json:JSONEncoder"), "must be a Function class"),
    ],
)
def test_a_runner_that_cannot_be_described_is_refused_with_the_reason(
    running: Stack, words: tuple[str, ...], why: str
) -> None:
    refused = running.auteur("runners", "add", *words)
    assert refused.returncode == 2
    assert why in refused.stderr


def test_after_a_kill_of_the_supervisor_the_next_up_clears_what_is_left_and_data_survives(stack: Stack) -> None:
    stack.add_echo()
    stack.up()
    output = run_echo(stack, "remember me")
    pids = [part.pid for part in stack.state.parts]
    address = stack.url
    stack.kill("supervisor")
    if sys.platform == "linux":
        wait_for(lambda: not [pid for pid in pids if processes.start_time(pid)], "its children to die with it")
    assert stack.auteur("status").returncode == 5
    # As on systems whose children do not die with their parent:
    with subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"), start_new_session=True) as leftover:
        processes.write_pid_file(stack.layout.process("engine"), leftover.pid)
        stack.up()
        assert leftover.wait(1) == -signal.SIGKILL
    assert stack.url == address
    assert not [pid for pid in pids if processes.start_time(pid)]
    status, echoed = stack.call("GET", output.removeprefix(address))
    assert (status, echoed["text"]) == (200, "remember me")
    run_echo(stack)


def test_in_the_foreground_it_stays_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """And listens where it is told to: all of 127.0.0.0/8 is this machine on Linux."""
    host = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
    allowed = f"{host},localhost"
    stack = Stack(tmp_path / "home", AUTEUR_GATEWAY__HOST=host, AUTEUR_GATEWAY__ALLOWED_HOSTS=allowed)
    with subprocess.Popen(
        (AUTEUR, "up", "--foreground"), env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        assert "gateway ✓" in up.stdout.readline()
        assert stack.url == f"http://{host}:{stack.port}"
        assert stack.ready()
        assert up.poll() is None
        os.kill(up.pid, signal.SIGINT)
        up.communicate(timeout=30)
        assert up.returncode == 130
    assert not stack.leftovers()


def test_a_part_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", AUTEUR_GATEWAY__DATABASE_URL="nonsense://")
    told = stack.auteur("up")
    assert told.returncode == 5
    assert "error: gateway does not start: it ended with exit code" in told.stderr
    assert "hint: auteur server-logs gateway" in told.stderr
    assert "nonsense" in told.stderr
    assert not stack.leftovers()


def test_ports_that_somebody_took_are_left_to_them_and_data_survives(stack: Stack) -> None:
    stack.add_echo()
    stack.up()
    output = run_echo(stack, "moved")
    address, before = stack.url, stack.config.ports
    stack.down()
    with listening(stack.port), listening(before.store.s3):
        told = stack.up()
        assert f"port {stack.port} is taken by another program: this stack listens on" in told.stderr
        assert stack.url != address
        assert stack.config.ports.store.s3 != before.store.s3
        assert stack.part("store").state is PartState.RUNNING
        status, echoed = stack.call("GET", output.removeprefix(address))
        assert (status, echoed["text"]) == (200, "moved")
        run_echo(stack)
        stack.down()
        refused = stack.auteur("up", "--port", str(stack.port))
        assert refused.returncode == 2
        assert "name another one: auteur up --port PORT" in refused.stderr


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Another program."""
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of ours are still in TIME_WAIT
        foreign.bind(("127.0.0.1", port))
        foreign.listen()
        yield
