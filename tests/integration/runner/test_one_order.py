"""An agent of one order, as in a pod of its own: told by its environment alone, judged by its last word, its exit code
and the report that lies in NATS before it ends.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auteur_contracts import names, subjects
from auteur_contracts.orders import Order, Outcome, RefusalReason, Report, TerminationMessage
from auteur_contracts.vocabulary import Fault, Reason
from auteur_kit import streams, trace
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings
from auteur_kit.store import Store
from tests.integration.runner.claims import TIER, Claims, order
from tests.integration.runner.conftest import ROOT
from tests.support.collector import collecting
from tests.support.objects import keys
from tests.support.scripted import Facts
from tests.support.servers import ServerProcess, variables_of
from tests.support.waiting import eventually


@dataclass
class Pod:
    """What a kubelet sees."""

    process: "subprocess.Popen[bytes]"
    termination_log: Path
    ready_file: Path
    log: Path

    async def exit_code(self, seconds: float = 30) -> int:
        return await asyncio.to_thread(self.process.wait, seconds)

    @property
    def word(self) -> TerminationMessage:
        assert self.termination_log.stat().st_size, self.log.read_text()
        return TerminationMessage.model_validate_json(self.termination_log.read_bytes())


StartPod = Callable[..., Pod]


@pytest.fixture
def start_pod(fresh_nats: NatsSettings, tmp_path: Path) -> Iterator[StartPod]:
    started: list[Pod] = []

    def start(one: Order, **settings: str) -> Pod:
        folder = tmp_path / f"pod-{len(started)}"
        folder.mkdir()
        pod_log, said = folder / "log", folder / "termination-log"
        said.touch()  # a kubelet makes it
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AUTEUR_")},
            **variables_of(fresh_nats),
            "AUTEUR_AGENT__RUNNER": "echo",
            "AUTEUR_AGENT__TARGET": "tests.support.echo:Echo",
            "AUTEUR_AGENT__DIRECTORY": str(ROOT),
            "AUTEUR_AGENT__POOL": "films_echo_standard",
            "AUTEUR_AGENT__TIER": TIER.model_dump_json(),
            "AUTEUR_AGENT__WORKER": "alley-1-x7xq2",
            "AUTEUR_AGENT__ORDER": one.model_dump_json(),
            "AUTEUR_AGENT__READY_FILE": str(folder / "ready"),
            "AUTEUR_AGENT__TERMINATION_LOG": str(said),
            "AUTEUR_AGENT__DRAIN": "500ms",
            "AUTEUR_ECHO_LEDGER": str(tmp_path / "ledger"),
            "TMPDIR": str(folder),
            **{f"AUTEUR_{name}": value for name, value in settings.items()},
        }
        with pod_log.open("ab") as log:
            process = subprocess.Popen(
                (sys.executable, "-m", "auteur_runner", "agent"), env=environment, stdout=log, stderr=log
            )
        started.append(Pod(process, said, folder / "ready", pod_log))
        return started[-1]

    yield start
    for pod in started:
        pod.process.kill()
        pod.process.wait()


@pytest.fixture
async def claims(bus: Bus, store: Store) -> AsyncIterator[Claims]:
    served = Claims(bus, store)
    await served.serve()
    yield served
    await store.delete_prefix("default/")


async def reported(bus: Bus) -> list[Report]:
    """What lies in the stream: NATS has it, whoever listened."""
    state = (await bus.js.stream_info(streams.REPORTS)).state
    return [
        Report.model_validate_json((await bus.js.get_msg(streams.REPORTS, seq)).data or b"")
        for seq in range(state.first_seq, state.first_seq + state.messages)
    ]


async def test_a_granted_order_is_run_stored_and_reported_before_the_exit(
    bus: Bus, store: Store, claims: Claims, start_pod: StartPod, tmp_path: Path
) -> None:
    claims.params = {"text": "hi", "bytes": 1000}
    pod = start_pod(order("alley"))
    assert await pod.exit_code() == 0
    (report,) = await reported(bus)
    assert (report.outcome, report.token, report.worker) == (Outcome.SUCCEEDED, "token", "alley-1-x7xq2")
    assert pod.word.report == report.model_copy(update={"token": ""})
    assert [output.name for output in report.outputs] == ["echo.json", "blob.bin"]
    prefix = str(names.AttemptPrefix("default", "default", "uid-alley", 1))
    stored = {key.removeprefix(prefix) for key in await keys(store, prefix)}
    assert stored == {"echo.json", "blob.bin", "result.json"}
    assert (tmp_path / "ledger").read_text().count("uid-alley 1 ") == 1
    assert not pod.ready_file.exists()


async def test_a_failed_attempt_exits_with_1_and_says_why(claims: Claims, start_pod: StartPod) -> None:
    claims.params = {"fail": "function", "lines": 5}
    pod = start_pod(order("night"))
    assert await pod.exit_code() == 1
    failure = pod.word.failure
    assert failure is not None
    assert (pod.word.outcome, failure.fault, failure.reason) == (
        Outcome.FAILED,
        Fault.FUNCTION,
        Reason.FUNCTION_FAILED,
    )
    assert "asked to fail" in failure.message
    assert failure.log_tail
    await eventually(lambda: claims.reports, "the report")


async def test_a_setup_that_fails_is_the_attempts_failure(claims: Claims, start_pod: StartPod) -> None:
    pod = start_pod(order("nowhere"), AGENT__TARGET="nowhere:Thing")
    assert await pod.exit_code() == 1
    failure = pod.word.failure
    assert failure is not None
    assert 'there is no module "nowhere"' in failure.message


@pytest.mark.parametrize("reason", [RefusalReason.STALE, RefusalReason.CLAIMED, RefusalReason.CANCELLED])
async def test_a_refused_claim_ends_it_with_nothing_run(
    bus: Bus, claims: Claims, start_pod: StartPod, tmp_path: Path, reason: RefusalReason
) -> None:
    claims.refuse = reason
    pod = start_pod(order("late"))
    assert await pod.exit_code() == 0
    assert (pod.word.outcome, pod.word.refused) == (None, reason)
    assert pod.word.message == "The claim was refused: attempt 1 of late: told so"
    assert not (tmp_path / "ledger").exists()
    assert await reported(bus) == []


async def test_nobody_answers_the_claim(bus: Bus, start_pod: StartPod) -> None:
    pod = start_pod(order("alone"), AGENT__CLAIM_PATIENCE="1s")
    assert await pod.exit_code() == 75
    assert pod.word.message == "Nobody answered the claim within 1 s."


async def test_a_nats_that_is_away_for_too_long(start_pod: StartPod) -> None:
    pod = start_pod(order("cut-off"), AGENT__CLAIM_PATIENCE="1s", NATS__URL="nats://127.0.0.1:1")
    assert await pod.exit_code() == 75
    assert pod.word.message.startswith("The claim could not be asked for: ")
    assert "nats://127.0.0.1:1" in pod.word.message


async def test_a_claim_that_is_answered_late_is_one_claim(claims: Claims, start_pod: StartPod, bus: Bus) -> None:
    """The first two questions get no answer: the third is the same claim, by its nonce."""
    claims.silent = 2
    pod = start_pod(order("patient"))
    assert await pod.exit_code() == 0
    assert (len(claims.asked), len({each.nonce for each in claims.asked}), len(await reported(bus))) == (3, 1, 1)


async def test_sigterm_during_the_run_hands_the_attempt_back(bus: Bus, claims: Claims, start_pod: StartPod) -> None:
    claims.params = {"steps": 1000, "seconds": 60}
    facts = Facts()
    await bus.listen(subjects.EVENTS, facts.hear)
    pod = start_pod(order("long"))
    await eventually(lambda: "progressed" in facts.of("long"), "the run")
    assert pod.ready_file.read_text() == "busy\n"
    pod.process.send_signal(signal.SIGTERM)
    assert await pod.exit_code() == 75
    assert pod.word.outcome is Outcome.HANDED_BACK
    (report,) = await reported(bus)
    assert report.outcome is Outcome.HANDED_BACK


async def test_sigterm_before_the_claim_was_answered(bus: Bus, start_pod: StartPod) -> None:
    asked: list[bytes] = []

    async def stay_silent(_subject: str, data: bytes) -> None:
        asked.append(data)

    await bus.listen(subjects.CLAIMS, stay_silent)
    pod = start_pod(order("early"))
    await eventually(lambda: asked, "the claim")
    pod.process.send_signal(signal.SIGTERM)
    assert await pod.exit_code() == 75
    assert pod.word.message == "The worker was told to stop before its claim was answered."


async def test_a_cancelled_attempt_leaves_nothing_to_do(bus: Bus, claims: Claims, start_pod: StartPod) -> None:
    claims.params = {"steps": 1000, "seconds": 60}
    facts = Facts()
    await bus.listen(subjects.EVENTS, facts.hear)
    pod = start_pod(order("unwanted"))
    await eventually(lambda: "progressed" in facts.of("unwanted"), "the run")
    await bus.say(subjects.CancelSignal("uid-unwanted", 1), b"")
    assert await pod.exit_code() == 0
    assert pod.word.outcome is Outcome.CANCELLED


async def test_the_deadline_ends_a_function_that_does_not_listen(claims: Claims, start_pod: StartPod) -> None:
    claims.params, claims.deadline_seconds = {"fail": "hang"}, 1.0
    pod = start_pod(order("deaf"), AGENT__CANCEL_GRACE="200ms")
    assert await pod.exit_code() == 1
    failure = pod.word.failure
    assert failure is not None
    assert failure.reason is Reason.DEADLINE_EXCEEDED


async def test_a_pod_that_is_killed_while_nats_is_away_has_left_its_word(
    own_nats: tuple[ServerProcess, NatsSettings], store: Store, start_pod: StartPod, tmp_path: Path
) -> None:
    server, settings = own_nats
    async with Bus.connect(settings, name="test", owns_streams=True) as bus:
        await bus.ensure_streams()
        claims = Claims(bus, store, {"seconds": 1})
        await claims.serve()
        pod = start_pod(order("cut-off"), NATS__URL=settings.url, NATS__PASSWORD=settings.password.get_secret_value())
        await eventually((tmp_path / "ledger").exists, "the run")
        server.kill()
        await eventually(lambda: pod.termination_log.stat().st_size, "the last word")
        pod.process.kill()
        await pod.exit_code()
    assert pod.word.outcome is Outcome.SUCCEEDED
    await store.delete_prefix("default/")


def test_the_function_cannot_read_the_agents_environment() -> None:
    """Both run as the same user: the kernel guards /proc/<pid>/environ, and the bus's password in it, of a process that
    is not "dumpable"."""
    ask = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    script = f"from auteur_runner.agent.program import _hide_from_other_processes; _hide_from_other_processes(); {ask}"
    told = subprocess.run((sys.executable, "-c", script), check=True, capture_output=True, text=True)
    assert told.stdout == "0\n"


@pytest.mark.parametrize("named", ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ""])
async def test_the_spans_of_a_pod_belong_to_the_trace_that_its_environment_names_or_else_to_its_jobs_uid(
    claims: Claims, start_pod: StartPod, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    _, trace_id, parent, _ = (named or trace.of_uid("uid-alley")).split("-")
    claims.params = {"fail": "user"}
    with collecting() as collector:
        monkeypatch.setenv("TRACEPARENT", named)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        await start_pod(order("alley")).exit_code()
    assert {span.trace_id for span in collector.spans} == {trace_id}
    attempt = collector.named("attempt", "agent")
    assert attempt is not None
    assert attempt.parent_id == parent
    assert attempt.attributes["auteur.job.uid"] == "uid-alley"
    assert attempt.attributes["auteur.outcome"] == "failed"
    assert attempt.failed
    names_of = {"claim", "download", "load", "run", "report"}
    assert names_of <= {span.name for span in collector.spans}, "sent before the process ended"
