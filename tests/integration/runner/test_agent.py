"""A real agent with a real child, on a real engine, NATS and S3: what a worker promises about its attempts."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from auteur_contracts import names, subjects
from auteur_contracts.commands import Cancel
from auteur_contracts.events import Previewed, Progressed
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.resources import GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Phase, Reason
from auteur_engine.settings import EngineSettings
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from auteur_runner.agent.agent import Agent
from auteur_runner.agent.pod import Pod
from auteur_runner.agent.settings import AgentTimes, Identity
from auteur_runner.agent.setup import Setup
from auteur_runner.describe import describe
from auteur_runner.function import Runner
from tests.integration.runner.conftest import ROOT
from tests.integration.runner.looks import Looks
from tests.support.echo import Echo
from tests.support.engine import running_engine
from tests.support.objects import keys, put
from tests.support.scripted import Facts, echo_job, find, register, submit
from tests.support.servers import ServerProcess, nats_server, variables_of
from tests.support.waiting import eventually, wait_for

NOWHERE = Pod()


@pytest.fixture
async def engine(bus: Bus, store: Store, tmp_path: Path) -> AsyncIterator[None]:
    async with _engine(bus, store, tmp_path):
        yield
    await store.delete_prefix("default/")


@asynccontextmanager
async def _engine(bus: Bus, store: Store, tmp_path: Path) -> AsyncIterator[None]:
    for function in (Echo, Looks):
        register(tmp_path / "runners", describe(Runner.of(function)))
    settings = EngineSettings(
        database=tmp_path / "engine.db", runners=tmp_path / "runners", secret=SecretStr("s"), max_active=8
    )
    async with running_engine(bus, store, settings):
        yield


StartAgent = Callable[..., contextlib.AbstractAsyncContextManager[Agent]]


@pytest.fixture
def start_agent(fresh_nats: NatsSettings, tmp_path: Path) -> StartAgent:
    return lambda **changes: _agent(fresh_nats, tmp_path, **changes)


@asynccontextmanager
async def _agent(
    nats: NatsSettings, tmp_path: Path, *, pod: Pod = NOWHERE, **changes: str | Path
) -> AsyncIterator[Agent]:
    identity = Identity(
        runner="echo",
        pool="echo",
        target="tests.support.echo:Echo",
        python=sys.executable,
        directory=ROOT,
        scratch=tmp_path / "scratch",
        worker="echo-1",
    ).model_copy(update=changes)
    times = AgentTimes(drain=timedelta(seconds=1), heartbeat=timedelta(seconds=0.5))
    async with Bus.connect(nats, name="agent") as own:
        agent = Agent(identity, times, own, Setup(identity, tier=None), pod=pod)
        life = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            agent.leave()
            await asyncio.wait_for(life, 60)


@pytest.fixture
async def agent(start_agent: StartAgent, engine: None) -> AsyncIterator[Agent]:
    async with start_agent() as started:
        yield started


@pytest.fixture
async def beats(bus: Bus) -> list[Heartbeat]:
    heard: list[Heartbeat] = []

    async def hear(_subject: str, data: bytes) -> None:
        heard.append(Heartbeat.model_validate_json(data))

    await bus.listen(subjects.HEARTBEATS, hear)
    return heard


@pytest.fixture
async def facts(bus: Bus) -> Facts:
    heard = Facts()
    await bus.listen(subjects.EVENTS, heard.hear)
    return heard


async def _status(bus: Bus, name: str) -> GenerationJobStatus | None:
    found = await find(bus, name)
    return found.job.status if found else None


async def finished(bus: Bus, name: str, *, seconds: float = 20) -> GenerationJobStatus:
    async def reached() -> GenerationJobStatus | None:
        status = await _status(bus, name)
        return status if status and status.finished else None

    found = await eventually(reached, f"{name} to finish", seconds=seconds)
    assert found is not None
    return found


async def running(bus: Bus, facts: Facts, name: str) -> None:
    await eventually(lambda: "progressed" in facts.of(name), f"{name} to run")


async def test_a_job_runs_and_its_files_lie_where_the_status_says(
    bus: Bus, store: Store, agent: Agent, facts: Facts
) -> None:
    await submit(bus, echo_job("one", params={"text": "hi", "steps": 3, "bytes": 300_000, "lines": 2}))
    status = await finished(bus, "one")
    assert status.phase is Phase.SUCCEEDED
    assert [output.name for output in status.outputs] == ["echo.json", "blob.bin"]
    for output in status.outputs:
        bucket, key = names.parse_s3_uri(output.uri)
        data = await store.read(key)
        assert bucket == store.bucket
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (output.sha256, output.bytes)
    prefix = key.rsplit("/", 1)[0]
    result = json.loads(await store.read(f"{prefix}/result.json"))
    assert result["outcome"] == "succeeded"
    assert "token" not in result
    assert {"run_seconds", "load_seconds", "upload_seconds", "entered_at_ns"} <= set(result["metrics"])
    await eventually(lambda: "succeeded" in facts.of("one"), "the last fact")
    told = facts.of("one")
    assert told.index("started") < told.index("progressed") < told.index("succeeded")
    assert told.count("logged") == 2


async def test_progress_is_at_most_ten_a_second_and_never_falls(bus: Bus, agent: Agent, facts: Facts) -> None:
    await submit(bus, echo_job("busy", params={"steps": 2000, "seconds": 1}))
    await finished(bus, "busy")
    await eventually(lambda: "succeeded" in facts.of("busy"), "the last fact")
    told = [fact for fact in facts.seen if fact.name == "busy" and fact.data.fact is subjects.Fact.PROGRESSED]
    progress = [fact.data.progress for fact in told if isinstance(fact.data, Progressed)]
    fractions = [each.fraction for each in progress]
    assert fractions == sorted(fractions)
    assert (progress[0].step, progress[-1].step) == (0, 2000)
    assert len(progress) <= 3 + 11 * (told[-1].time - told[0].time).total_seconds()
    assert len({fact.id for fact in facts.seen}) == len(facts.seen)


async def test_a_cancelled_job_stops_soon_and_the_next_one_gives_the_bytes_of_an_undisturbed_run(
    bus: Bus, agent: Agent, facts: Facts
) -> None:
    same = {"text": "same", "seed": 3, "bytes": 1000}
    await submit(bus, echo_job("before", params=same))
    undisturbed = [output.sha256 for output in (await finished(bus, "before")).outputs]
    await submit(bus, echo_job("long", params={"steps": 500, "seconds": 100}))
    await running(bus, facts, "long")
    await bus.publish(subjects.JobCommand("default", "long", subjects.Verb.CANCEL), Cancel(by="me"), msg_id="c1")
    assert (await finished(bus, "long")).phase is Phase.CANCELLED
    await submit(bus, echo_job("after", params=same))
    assert [output.sha256 for output in (await finished(bus, "after")).outputs] == undisturbed


@pytest.mark.parametrize(
    ("spec", "fault", "reason"),
    [
        ({"params": {"fail": "user"}}, Fault.USER, Reason.INVALID_REQUEST),
        ({"params": {"fail": "oom"}, "retries": 0}, Fault.FUNCTION, Reason.OUT_OF_MEMORY),
        ({"params": {"fail": "crash"}, "retries": 0}, Fault.FUNCTION, Reason.FUNCTION_FAILED),
        ({"params": {"fail": "platform"}, "retries": 0}, Fault.PLATFORM, Reason.PLATFORM_FAILED),
        ({"params": {"fail": "hang"}, "retries": 0, "deadline": "1s"}, Fault.FUNCTION, Reason.DEADLINE_EXCEEDED),
    ],
    ids=["user", "oom", "crash", "platform", "deadline"],
)
async def test_a_failure_says_whose_fault_it_was_and_the_worker_serves_on(
    bus: Bus, agent: Agent, spec: dict[str, object], fault: Fault, reason: Reason
) -> None:
    await submit(bus, echo_job("bad", **spec))
    status = await finished(bus, "bad")
    assert status.failure is not None
    assert (status.failure.fault, status.failure.reason) == (fault, reason)
    await submit(bus, echo_job("good"))
    assert (await finished(bus, "good")).phase is Phase.SUCCEEDED


async def test_a_worker_says_how_it_is(bus: Bus, beats: list[Heartbeat], agent: Agent, facts: Facts) -> None:
    await eventually(lambda: beats and beats[-1].state is WorkerState.READY, "the worker to be ready")
    assert beats[0].state is WorkerState.STARTING
    await submit(bus, echo_job("seen", params={"steps": 10, "seconds": 0.5}))
    await eventually(lambda: beats[-1].state is WorkerState.BUSY, "the worker to be busy")
    assert beats[-1].uid
    await finished(bus, "seen")
    await eventually(lambda: beats[-1].state is WorkerState.READY, "the worker to be ready again")
    assert beats[-1].uid == ""


async def test_the_ready_file_is_there_while_the_worker_serves(
    bus: Bus, beats: list[Heartbeat], start_agent: StartAgent, engine: None, facts: Facts, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    ready.write_text("left by a container before")
    async with start_agent(pod=Pod(ready_file=ready)) as agent:
        await eventually(lambda: beats, "the first heartbeat")
        assert (beats[0].state, ready.exists()) in ((WorkerState.STARTING, False), (WorkerState.READY, True))
        await eventually(lambda: ready.exists() and ready.read_text() == "ready\n", "the worker to be ready")
        await submit(bus, echo_job("seen", params={"steps": 50, "seconds": 0.5}))
        await running(bus, facts, "seen")
        assert ready.read_text() == "busy\n"
        agent.leave()
        await eventually(lambda: not ready.exists(), "the file to go")
        assert (await finished(bus, "seen")).phase is Phase.SUCCEEDED


async def test_a_worker_that_is_broken_has_no_ready_file(
    beats: list[Heartbeat], start_agent: StartAgent, engine: None, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    async with start_agent(pod=Pod(ready_file=ready), target="nowhere:Thing"):
        await eventually(lambda: beats and beats[-1].state is WorkerState.BROKEN, "the worker to be broken")
        assert not ready.exists()


async def test_a_runner_that_cannot_be_loaded_is_broken_with_the_reason(
    beats: list[Heartbeat], start_agent: StartAgent, engine: None
) -> None:
    async with start_agent(target="nowhere:Thing"):
        await eventually(lambda: beats and beats[-1].state is WorkerState.BROKEN, "the worker to be broken")
        assert 'there is no module "nowhere"' in beats[-1].message


async def test_a_setup_that_outlasts_its_own_timeout_makes_the_worker_broken(
    beats: list[Heartbeat], start_agent: StartAgent, engine: None
) -> None:
    async with start_agent(runner="slow", pool="slow", target="tests.integration.runner.looks:Slow"):
        await eventually(lambda: beats and beats[-1].state is WorkerState.BROKEN, "the worker to be broken")
        assert beats[-1].message == "setup took longer than its timeout of 1 s"


async def test_a_worker_that_leaves_finishes_a_short_job(
    bus: Bus, start_agent: StartAgent, engine: None, facts: Facts
) -> None:
    async with start_agent() as agent:
        await submit(bus, echo_job("short", params={"steps": 5, "seconds": 0.5}))
        await running(bus, facts, "short")
        agent.leave()
        status = await finished(bus, "short")
    assert (status.phase, status.attempt) == (Phase.SUCCEEDED, 1)


async def test_a_worker_that_leaves_hands_a_long_job_back_and_another_runs_it(
    bus: Bus, start_agent: StartAgent, engine: None, facts: Facts
) -> None:
    async with start_agent() as agent:
        await submit(bus, echo_job("long", params={"steps": 500, "seconds": 3}))
        await running(bus, facts, "long")
        agent.leave()

        async def handed_back() -> bool:
            status = await _status(bus, "long")
            return status is not None and not status.running

        await eventually(handed_back, "the job to be handed back")
    async with start_agent(worker="echo-2"):
        status = await finished(bus, "long")
    assert (status.phase, status.attempt, status.failures) == (Phase.SUCCEEDED, 2, 0)


async def test_a_job_survives_the_death_of_nats_and_store_and_runs_once(
    own_nats: tuple[ServerProcess, NatsSettings],
    own_store: tuple[ServerProcess, StoreSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTEUR_ECHO_LEDGER", str(tmp_path / "ledger"))
    (nats, nats_settings), (store_process, store_settings) = own_nats, own_store
    store = Store(store_settings)
    await store.ensure_bucket()
    facts = Facts()
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.connect(nats_settings, name="test", owns_streams=True))
        await bus.ensure_streams()
        await bus.listen(subjects.EVENTS, facts.hear)
        await stack.enter_async_context(_engine(bus, store, tmp_path))
        await stack.enter_async_context(_agent(nats_settings, tmp_path))
        await submit(bus, echo_job("tough", params={"steps": 20, "seconds": 1.5}))
        await running(bus, facts, "tough")
        store_process.kill()
        nats.kill()
        await eventually(lambda: [*tmp_path.glob("scratch/*/echo.json")], "the run to end while both are away")
        await asyncio.to_thread(nats.start)
        await asyncio.to_thread(store_process.start)
        status = await finished(bus, "tough")
    store.close()
    assert (status.phase, status.attempt) == (Phase.SUCCEEDED, 1)
    assert len(_lines(tmp_path / "ledger")) == 1


LOOKS: dict[str, Any] = {
    "runner": "looks",
    "pool": "looks",
    "target": "tests.integration.runner.looks:Looks",
    "worker": "looks-1",
}


async def test_an_input_that_was_never_uploaded_is_the_users_fault_and_is_not_tried_again(
    bus: Bus, store: Store, start_agent: StartAgent, engine: None
) -> None:
    uri = f"s3://{store.bucket}/default/default/uploads/nobody/cat.png"
    async with start_agent(**LOOKS):
        await submit(bus, echo_job("typo", function="looks", params={}, inputs=[{"name": "image", "uri": uri}]))
        status = await finished(bus, "typo")
    assert status.failure is not None
    assert (status.failure.fault, status.failure.reason) == (Fault.USER, Reason.INVALID_INPUT)
    assert status.failure.message == f'Input "image" is not in the store: there is no {uri}.'
    assert (status.attempt, status.failures) == (1, 1)


async def test_a_preview_takes_no_outputs_name(
    bus: Bus, store: Store, start_agent: StartAgent, engine: None, facts: Facts, tmp_path: Path
) -> None:
    (tmp_path / "cat.png").write_bytes(b"a cat")
    key = "default/default/uploads/somebody/cat.png"
    await put(store, key, tmp_path / "cat.png", "image/png")
    inputs = [{"name": "image", "uri": names.s3_uri(store.bucket, key)}]
    async with start_agent(**LOOKS):
        await submit(bus, echo_job("seen", function="looks", params={"seconds": 0.5}, inputs=inputs))
        status = await finished(bus, "seen")
        await eventually(lambda: "succeeded" in facts.of("seen"), "the last fact")
    prefix = status.outputs[0].uri.removeprefix(f"s3://{store.bucket}/").removesuffix("preview-1.jpg")
    stored = {key.removeprefix(prefix) for key in await keys(store, prefix)}
    assert stored == {"preview-1.jpg", ".preview-1.jpg", "result.json"}
    assert await store.read(f"{prefix}preview-1.jpg") == b"a cat"
    (shown,) = [fact.data.uri for fact in facts.seen if isinstance(fact.data, Previewed)]
    assert (await store.read(shown.removeprefix(f"s3://{store.bucket}/"))).startswith(b"\xff\xd8\xff")


async def test_a_report_that_nats_will_not_take_fails_the_attempt_and_the_worker_serves_on(
    store: Store, tmp_path: Path
) -> None:
    """Its server takes 20 kB a message; 32 warnings of 1500 bytes are more."""
    process, settings = nats_server(tmp_path / "nats")
    config = tmp_path / "nats" / "nats.conf"
    config.write_text(config.read_text().replace("max_payload: 8MB", "max_payload: 20KB"))
    process.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            bus = await stack.enter_async_context(Bus.connect(settings, name="test", owns_streams=True))
            await bus.ensure_streams()
            await stack.enter_async_context(_engine(bus, store, tmp_path))
            await stack.enter_async_context(_agent(settings, tmp_path, **LOOKS))
            await submit(bus, echo_job("loud", function="looks", params={"warnings": 32}, retries=0))
            status = await finished(bus, "loud")
            await submit(bus, echo_job("quiet", function="looks", params={}))
            assert (await finished(bus, "quiet")).phase is Phase.SUCCEEDED
    finally:
        process.stop()
    assert status.failure is not None
    assert (status.failure.fault, status.failure.reason) == (Fault.FUNCTION, Reason.FUNCTION_FAILED)
    assert "The attempt's report could not be delivered: a message on auteur.report" in status.failure.message


async def test_a_copy_of_the_report_that_cannot_be_written_fails_nothing(
    bus: Bus, start_agent: StartAgent, engine: None
) -> None:
    """Something of the author's is in the way of the agent's file: the outputs are stored all the same."""
    async with start_agent(**LOOKS):
        await submit(bus, echo_job("blocked", function="looks", params={"block": True}))
        status = await finished(bus, "blocked")
    assert (status.phase, status.attempt) == (Phase.SUCCEEDED, 1)


# As a program


@pytest.fixture
def program(fresh_nats: NatsSettings, tmp_path: Path) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []
    environment = {
        **os.environ,
        **variables_of(fresh_nats),
        "AUTEUR_AGENT__DRAIN": "1s",
        "AUTEUR_ECHO_LEDGER": str(tmp_path / "ledger"),
    }
    words = ("--runner", "echo", "--target", "tests.support.echo:Echo", "--directory", str(ROOT))
    argv = (sys.executable, "-m", "auteur_runner", "agent", *words, "--scratch", str(tmp_path / "scratch"))

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "agent.log").open("ab") as log:
            process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_a_killed_agent_takes_its_child_along_and_its_job_runs_elsewhere(
    bus: Bus, engine: None, facts: Facts, program: Callable[[], "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    first = program()
    await submit(bus, echo_job("orphan", params={"steps": 100, "seconds": 2}))
    await running(bus, facts, "orphan")
    child = _children(first.pid)[0]
    first.kill()
    await asyncio.to_thread(wait_for, lambda: not Path(f"/proc/{child}").exists(), "the child to die with its agent")
    program()
    status = await finished(bus, "orphan")
    assert (status.phase, status.attempt, status.losses) == (Phase.SUCCEEDED, 2, 1)
    assert len(_lines(tmp_path / "ledger")) == 2


async def test_sigterm_ends_an_idle_agent_with_exit_code_zero(
    bus: Bus, engine: None, beats: list[Heartbeat], program: Callable[[], "subprocess.Popen[bytes]"]
) -> None:
    process = program()
    await eventually(lambda: beats and beats[-1].state is WorkerState.READY, "the agent to be ready")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) == 0
    await eventually(lambda: beats[-1].state is WorkerState.DRAINING, "its last word")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
