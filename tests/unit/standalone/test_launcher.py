"""What `up` makes of the state it sees."""

import socket
from pathlib import Path

import pytest

from auteur_contracts.errors import InvalidRequest
from auteur_standalone import disk, ports, state
from auteur_standalone.launcher import Failure, Tick, View, failing, lateness, ticks
from auteur_standalone.layout import Layout
from auteur_standalone.state import PartReport, PartState, StackState


def stack_with(**parts: PartState) -> StackState:
    reports = tuple(PartReport(name=name.replace("_", "-"), state=how) for name, how in parts.items())
    return StackState(pid=1, url="http://127.0.0.1:8000", started=0, parts=reports)


def test_every_part_ticks_and_the_engine_only_when_requests_work() -> None:
    now = stack_with(
        nats=PartState.RUNNING,
        store=PartState.EXTERNAL,
        gateway=PartState.STARTING,
        engine=PartState.RUNNING,
        runner_tiny=PartState.FAILING,
    )
    assert ticks(View(now, ready=False)) == [
        ("nats", Tick.DONE),
        ("store", Tick.DONE),
        ("gateway", Tick.WAIT),
        ("engine", Tick.WAIT),
        ("tiny", Tick.BAD),
    ]
    assert dict(ticks(View(now, ready=True)))["engine"] is Tick.DONE


def test_a_failing_part_is_told_with_its_last_words_and_a_failing_runner_hinders_nothing() -> None:
    gateway = PartReport(name="gateway", state=PartState.FAILING, message="ended with exit code 2\nTraceback\nboom")
    now = stack_with(runner_tiny=PartState.FAILING)
    assert failing(now) is None
    assert failing(now.model_copy(update={"parts": (*now.parts, gateway)})) == Failure(
        "gateway does not start: it ended with exit code 2", "auteur server-logs gateway", ("Traceback", "boom")
    )


@pytest.mark.parametrize(
    ("now", "what", "log"),
    [
        (None, "the supervisor is late", "supervisor"),
        (stack_with(nats=PartState.EXTERNAL, gateway=PartState.STARTING), "gateway is late", "gateway"),
        (
            stack_with(nats=PartState.RUNNING, gateway=PartState.RUNNING, runner_tiny=PartState.FAILING),
            "the gateway does not take requests, or the engine has not told it of all runners",
            "engine",
        ),
        (
            stack_with(nats=PartState.RUNNING).model_copy(update={"pending": "runners' environments"}),
            "it waits for runners' environments",
            "supervisor",
        ),
        (
            stack_with(nats=PartState.EXTERNAL, gateway=PartState.RUNNING, engine=PartState.RUNNING),
            "the gateway does not take requests; does nats at  answer?",
            "gateway",
        ),
    ],
)
def test_what_is_late_is_neither_a_runner_nor_somebody_elses_server(
    now: StackState | None, what: str, log: str
) -> None:
    assert lateness(now) == (what, log)


def test_a_port_is_asked_for_where_the_gateway_will_listen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        assert not ports.is_free(port, "0.0.0.0")  # noqa: S104  # a look, nothing listens
    assert ports.is_free(port, "localhost")
    with pytest.raises(InvalidRequest, match=r'AUTEUR_GATEWAY__HOST: "192\.0\.2\.1" is no address of this machine'):
        ports.is_free(port, "192.0.2.1")
    with pytest.raises(InvalidRequest, match="is no address of this machine"):
        ports.is_free(port, "no such host")


def test_the_state_is_read_back_and_a_torn_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert state.read(path) is None
    state.write(path, stack_with(nats=PartState.RUNNING))
    assert state.read(path) == stack_with(nats=PartState.RUNNING)
    path.write_text("{")
    assert state.read(path) is None


def test_the_disk_is_measured_by_part(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    layout.make()
    before = disk.measure(layout)
    (layout.store / "1.dat").write_bytes(b"x" * 100_000)
    with (layout.nats / "sparse").open("wb") as file:
        file.truncate(1_000_000_000)
    layout.gateway_database.write_bytes(b"x" * 10_000)
    after = disk.measure(layout)
    assert 100_000 <= after.parts["s3"] - before.parts["s3"] < 200_000
    assert after.parts["nats"] - before.parts["nats"] < 100_000, "what a store promises is not what it takes"
    assert after.parts["databases"] >= 10_000
    assert after.free > 0
    assert disk.Usage({}, disk.LOW_BYTES - 1).low
    assert not disk.Usage({}, disk.LOW_BYTES).low


def test_free_ports_are_different_and_outside_of_what_the_system_draws() -> None:
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(port in ports.PORTS and ports.is_free(port) for port in found)


def test_the_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home")
    layout.make()
    layout.make()
    assert layout.root.stat().st_mode & 0o777 == 0o700
