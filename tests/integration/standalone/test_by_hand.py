"""The services under the supervisor, gateway and worker in terminals of one's own: `up --services` and `exec`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.stack import AUTEUR, CHECKOUT, Stack
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "home")
    stack.add_echo()
    stack.up("--services")
    yield stack
    stack.end()


@contextmanager
def in_a_terminal(stack: Stack, part: str) -> Iterator[None]:
    with subprocess.Popen(
        (AUTEUR, "exec", part), env=stack.environment, cwd=CHECKOUT, stderr=subprocess.DEVNULL
    ) as program:
        try:
            yield
        finally:
            program.terminate()


def test_a_job_is_done_by_programs_that_were_started_by_hand(services: Stack) -> None:
    assert [part.name for part in services.state.parts] == ["nats", "store", "engine"]
    assert services.auteur("up", "--services").stdout == f"already running at {services.url}\n"
    assert not services.ready(), "nobody runs the gateway yet"
    with in_a_terminal(services, "gateway"), in_a_terminal(services, "echo"):
        wait_for(services.ready, "the gateway to take requests", seconds=180)
        job = services.finished(services.submit(params={"text": "by hand"}), seconds=180)
        assert job["status"] == "done", job


def test_what_cannot_be_is_refused_in_a_sentence(services: Stack, tmp_path: Path) -> None:
    refused = services.auteur("up")
    assert refused.returncode == 2
    assert "only the services of this stack run" in refused.stderr
    engine = services.auteur("exec", "engine")
    assert engine.returncode == 2
    assert "engine runs already, under the supervisor" in engine.stderr
    nobody = services.auteur("exec", "nobody")
    assert nobody.returncode == 4
    assert "there is: gateway, engine, runner-echo" in nobody.stderr
    assert Stack(tmp_path / "other").auteur("exec", "gateway").returncode == 4


def test_a_command_gets_the_settings_of_the_part_and_no_others(services: Stack) -> None:
    gateway = services.auteur("exec", "gateway", "env").stdout
    assert "AUTEUR_STORE__SECRET_KEY=" in gateway
    assert "AUTEUR_GATEWAY__DATABASE_URL=" in gateway
    worker = services.auteur("exec", "echo", "env").stdout
    assert "AUTEUR_NATS__URL=" in worker
    assert "AUTEUR_STORE__SECRET_KEY=" not in worker


def test_they_are_ready_without_an_api_and_say_what_is_missing(services: Stack) -> None:
    told = services.auteur("status")
    assert told.returncode == 0
    assert "services only: run the rest in a terminal: auteur exec gateway, auteur exec RUNNER" in told.stderr
