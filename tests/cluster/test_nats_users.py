"""The users of the chart's NATS, on a real server with the rendered configuration: each can do all that its program
does, and nothing that is another's word.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from auteur_contracts import catalogue, names, subjects
from auteur_contracts.errors import Unavailable
from auteur_contracts.orders import ClaimRefused, RefusalReason
from auteur_contracts.subjects import (
    WORKER_FACTS,
    CancelSignal,
    Claim,
    Fact,
    Heartbeat,
    JobCommand,
    JobFact,
    JobQuery,
    ReportOf,
    Verb,
    Work,
)
from auteur_kit import streams
from auteur_kit.bus import Bus, Consumer, Delivery, EventLog
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from auteur_runner.describe import describe
from auteur_runner.function import Runner
from auteur_standalone import servers
from tests.support.cluster.helm import Helm
from tests.support.echo import Echo
from tests.support.ports import free_ports
from tests.support.scripted import register
from tests.support.servers import ServerProcess, _says_info, delete_streams
from tests.support.tasks import running
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
OWN, OTHER = "studio", "somebody-elses"
"""The namespace that the gateway serves, and one that it does not."""
POOL = str(names.TierPool("auteur", "diffusion-tiny", "standard"))
WORKERS = Consumer(streams.WORK, POOL, subjects.pool_work(POOL), batch=1)
PASSWORDS = {user: f"{user}-secret" for user in ("operator", "gateway", "worker")}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as the chart's pod runs it, but for addresses and folders."""
    folder = tmp_path_factory.mktemp("nats-users")
    rendered = Helm(folder / "helm").resources("auteur", "--set", f"gateway.namespace={OWN}")
    text = next(each["data"]["nats.conf"] for each in rendered if each["kind"] == "ConfigMap")
    port, monitor = free_ports(2)
    for pods, ours in {
        "0.0.0.0:4222": f"{servers.LOOPBACK}:{port}",
        "0.0.0.0:8222": f"{servers.LOOPBACK}:{monitor}",
        "/data/jetstream": str(folder / "jetstream"),
    }.items():
        assert pods in text
        text = text.replace(pods, ours)
    config = folder / "nats.conf"
    config.write_text(text)
    environment = {f"{user.upper()}_PASSWORD": password for user, password in PASSWORDS.items()}
    server = ServerProcess(
        "nats-server",
        servers.nats_argv(servers.find_binary("nats-server"), config),
        folder / "nats.log",
        lambda: _says_info(port),
        env={**environment, "SERVER_NAME": "auteur-nats-0"},
    ).start()
    yield f"nats://{servers.LOOPBACK}:{port}"
    server.stop()


@dataclass(frozen=True)
class Users:
    operator: Bus
    gateway: Bus
    worker: Bus


@pytest.fixture
async def users(url: str) -> AsyncIterator[Users]:
    """All connected, the streams there and empty."""
    async with contextlib.AsyncExitStack() as stack:
        connected = {
            user: await stack.enter_async_context(
                Bus.connect(settings(url, user), name=user, owns_streams=user == "operator")
            )
            for user in PASSWORDS
        }
        operator = connected["operator"]
        await delete_streams(operator)
        await operator.ensure_streams()
        yield Users(**connected)


def settings(url: str, user: str) -> NatsSettings:
    return NatsSettings.model_validate({"url": url, "user": user, "password": PASSWORDS[user]})


class Heard:
    """What came, in order. Who sends on one connection is heard in that order."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def __call__(self, subject: str, _data: bytes) -> None:
        if not subject.startswith(("$JS", "_INBOX")):
            self.subjects.append(subject)


class Taken:
    """Deliveries of a consumer, acknowledged."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def __call__(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            await delivery.ack()
            self.subjects.append(delivery.subject)


def fact(what: Fact, namespace: str = OWN) -> str:
    return str(JobFact(namespace, "film", "u1", what))


# ── each does what its program does ───────────────────────────────────────────────────────────────────────────────────


async def test_a_job_passes_through_all_of_them(users: Users) -> None:
    """Submitted, ordered, claimed, told of, reported, announced, asked for: by the bus, as the programs use it."""
    commands, reports, orders, beats, cancels = Taken(), Taken(), Taken(), Heard(), Heard()
    told: list[str] = []

    async def follow(batch: list[Delivery], _epoch: str) -> None:
        told.extend(delivery.subject for delivery in batch)

    following = asyncio.Event()

    async def reset(_position: object) -> None:
        following.set()

    async def refuse(_subject: str, _data: bytes) -> ClaimRefused:
        return ClaimRefused(reason=RefusalReason.STALE)

    operator, gateway, worker = users.operator, users.gateway, users.worker
    await operator.answer(subjects.CLAIMS, refuse)
    await operator.answer("auteur.query.v1.*.job.list", refuse)
    await operator.listen(subjects.HEARTBEATS, beats)
    await worker.listen(CancelSignal("u1", 1), cancels)
    async with (
        running(operator.consume(Consumer(streams.COMMANDS, "operator", subjects.COMMANDS), commands)),
        running(operator.consume(Consumer(streams.REPORTS, "operator", subjects.REPORTS), reports)),
        running(worker.consume(WORKERS, orders)),
        running(EventLog(gateway).follow(follow, reset)),
    ):
        async with asyncio.timeout(60):
            await following.wait()
        submit, work, report = JobCommand(OWN, "alley", Verb.SUBMIT), Work(POOL, "u1"), ReportOf(POOL, "u1", 1)
        await gateway.publish(submit, b"{}", msg_id="submit")
        await operator.publish(work, b"{}", msg_id="order")
        await eventually(lambda: orders.subjects == [str(work)], "the worker to have its order")
        assert b"stale" in await worker.request(Claim(OWN), b"{}")
        await worker.say(Heartbeat(POOL, "pod-1"), b"{}")
        for each in sorted(WORKER_FACTS):
            await worker.publish(fact(each), b"{}", msg_id=f"fact-{each.value}")
        await worker.publish(report, b"{}", msg_id="report")
        await operator.publish(fact(Fact.SUCCEEDED), b"{}", msg_id="succeeded")
        await operator.say(CancelSignal("u1", 1), b"")
        assert b"stale" in await gateway.request(JobQuery(OWN, "list"), b"{}")

        facts = [fact(each) for each in (*sorted(WORKER_FACTS), Fact.SUCCEEDED)]
        await eventually(lambda: told == facts, "the gateway to hear every fact")
        await eventually(lambda: commands.subjects == [str(submit)], "the operator to have the command")
        await eventually(lambda: reports.subjects == [str(report)], "the operator to have the report")
        await eventually(lambda: len(beats.subjects) == 1 and len(cancels.subjects) == 1, "heartbeat and cancel")

    events = EventLog(gateway)
    position = await events.position()
    replayed = [
        each.subject async for each in events.replay(subjects.namespace_events(OWN), after=0, until=position.last)
    ]
    assert replayed == facts


async def test_the_programs_themselves_make_something(
    url: str, users: Users, store: Store, store_settings: StoreSettings, tmp_path: Path
) -> None:
    """Gateway, engine (it speaks as the operator does) and worker, each as its own user: asked for, made, told."""
    del users, store  # the streams are empty, the bucket is there
    port = free_ports(1)[0]
    register(tmp_path / "runners", describe(Runner.of(Echo)))
    s3 = store_settings.secret_key.get_secret_value()
    environment = {
        "AUTEUR_NATS__URL": url,
        "AUTEUR_STORE__URL": store_settings.url,
        "AUTEUR_STORE__ACCESS_KEY": store_settings.access_key,
        "AUTEUR_STORE__SECRET_KEY": s3,
        "AUTEUR_STORE__BUCKET": store_settings.bucket,
        "AUTEUR_ENGINE__NAMESPACE": OWN,
        "AUTEUR_ENGINE__SECRET": "signs-reports",
        "AUTEUR_ENGINE__DATABASE": str(tmp_path / "engine.db"),
        "AUTEUR_ENGINE__RUNNERS": str(tmp_path / "runners"),
        "AUTEUR_GATEWAY__NAMESPACE": OWN,
        "AUTEUR_GATEWAY__PORT": str(port),
        "AUTEUR_GATEWAY__DATABASE_URL": f"sqlite:///{tmp_path / 'gateway.db'}",
        "AUTEUR_AGENT__RUNNER": "echo",
        "AUTEUR_AGENT__TARGET": "tests.support.echo:Echo",
        "AUTEUR_AGENT__DIRECTORY": str(ROOT),
        "AUTEUR_AGENT__SCRATCH": str(tmp_path / "scratch"),
        "AUTEUR_AGENT__READY_FILE": str(tmp_path / "ready"),
    }

    def program(user: str, *module: str, ready: Callable[[], bool]) -> ServerProcess:
        credentials = {"AUTEUR_NATS__USER": user, "AUTEUR_NATS__PASSWORD": PASSWORDS[user]}
        argv = (sys.executable, "-m", *module)
        return ServerProcess(user, argv, tmp_path / f"{user}.log", ready, env={**environment, **credentials})

    programs = [
        program("operator", "auteur_engine", ready=lambda: True),
        program("worker", "auteur_runner", "agent", ready=(tmp_path / "ready").exists),
        program("gateway", "auteur_gateway", ready=lambda: _ready(port)),
    ]
    with contextlib.ExitStack() as stack:
        for each in programs:
            stack.callback(each.stop)
            each.start()
        async with httpx.AsyncClient(base_url=f"http://{servers.LOOPBACK}:{port}") as client:

            async def asked() -> str:
                reply = await client.post("/v1/generations", json={"function": "echo", "params": {"text": "hello"}})
                return reply.json()["job_id"] if reply.status_code == httpx.codes.ACCEPTED else ""

            job = await eventually(asked, "the catalogue to reach the gateway")

            async def done() -> bool:
                return bool((await client.get(f"/v1/generations/{job}/status")).json()["status"] == "done")

            await eventually(done, "the job to be done")
    for each in programs:
        assert "ermission" not in each.log.read_text()


def _ready(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://{servers.LOOPBACK}:{port}/readyz").status_code == httpx.codes.OK
    return False


async def test_the_gateway_reads_the_catalogue(users: Users) -> None:
    key = catalogue.key(OWN)
    assert await users.gateway.get_document(catalogue.BUCKET, key) is None
    await users.operator.put_document(catalogue.BUCKET, key, b"[]")
    assert await users.gateway.get_document(catalogue.BUCKET, key) == b"[]"
    assert await users.gateway.get_document(catalogue.BUCKET, "runners.nowhere") is None


async def test_workers_and_gateways_get_over_streams_that_somebody_else_has_to_make(users: Users) -> None:
    """NATS came back without its volume: who may not make streams waits for the one who may, and is not held up."""
    for stream in (streams.REPORTS, streams.COMMANDS, streams.EVENTS):
        await users.operator.js.delete_stream(stream)
    report = asyncio.create_task(users.worker.publish(ReportOf(POOL, "u1", 1), b"{}", msg_id="report"))
    command = asyncio.create_task(users.gateway.publish(JobCommand(OWN, "a", Verb.SUBMIT), b"{}", msg_id="submit"))
    with pytest.raises(Unavailable, match="the control plane makes it"):
        await EventLog(users.gateway).position()

    await users.operator.ensure_streams()
    async with asyncio.timeout(60):
        assert (await report, await command) == (1, 1)


# ── and nothing that is another's ─────────────────────────────────────────────────────────────────────────────────────

NOT_A_WORKERS = [
    *(fact(each) for each in Fact if each not in WORKER_FACTS),
    str(JobCommand(OWN, "alley", Verb.SUBMIT)),
    str(JobCommand(OWN, "alley", Verb.CANCEL)),
    str(Work(POOL, "u1")),
    str(CancelSignal("u1", 1)),
    str(JobQuery(OWN, "list")),
    f"$KV.{catalogue.BUCKET}.{catalogue.key(OWN)}",
]
NOT_A_GATEWAYS = [
    *(fact(each) for each in Fact),
    str(JobCommand(OTHER, "alley", Verb.SUBMIT)),
    str(JobQuery(OTHER, "list")),
    str(Work(POOL, "u1")),
    str(ReportOf(POOL, "u1", 1)),
    str(CancelSignal("u1", 1)),
    str(Claim(OWN)),
    str(Heartbeat(POOL, "pod-1")),
    f"$KV.{catalogue.BUCKET}.{catalogue.key(OWN)}",
]


@pytest.mark.parametrize("user", ["worker", "gateway"])
async def test_nobody_speaks_with_anothers_voice(user: str, users: Users) -> None:
    speaker, forbidden, allowed = {
        "worker": (users.worker, NOT_A_WORKERS, str(Heartbeat(POOL, "pod-1"))),
        "gateway": (users.gateway, NOT_A_GATEWAYS, str(JobCommand(OWN, "alley", Verb.CANCEL))),
    }[user]
    heard = Heard()
    await users.operator.listen("auteur.>", heard)
    await users.operator.listen("$KV.>", heard)
    for subject in (*forbidden, allowed):
        await speaker.say(subject, b"{}")
    await eventually(lambda: heard.subjects, "what may be said")
    assert heard.subjects == [allowed]
    with pytest.raises(Unavailable):
        await speaker.publish(fact(Fact.SUCCEEDED), b"{}", msg_id="forged", patience=0.5)


@pytest.mark.parametrize("user", ["worker", "gateway"])
async def test_nobody_hears_what_is_meant_for_another(user: str, users: Users) -> None:
    listener = {"worker": users.worker, "gateway": users.gateway}[user]
    heard, own = Heard(), asyncio.Event()
    for subject in (">", "auteur.>", subjects.COMMANDS, subjects.REPORTS, subjects.EVENTS, "_INBOX.>", "$KV.>"):
        await listener.listen(subject, heard)
    for other in ("operator", "worker", "gateway"):
        if other != user:
            await listener.listen(f"_INBOX_{other}.>", heard)

    async def on_own(_subject: str, _data: bytes) -> None:
        own.set()

    await listener.listen(f"_INBOX_{user}.mine", on_own)
    for said in (JobCommand(OWN, "a", Verb.SUBMIT), ReportOf(POOL, "u1", 1), fact(Fact.STARTED), "_INBOX.x"):
        await users.operator.say(said, b"{}")
    for other in ("operator", "worker", "gateway"):
        await users.operator.say(f"_INBOX_{other}.mine", b"{}")
    async with asyncio.timeout(60):
        await own.wait()
    assert heard.subjects == []


READS = {"worker": streams.WORK, "gateway": streams.EVENTS}
NAMES = [stream.name or "" for stream in streams.STREAMS]


@pytest.mark.parametrize(("user", "stream"), [(user, name) for user in READS for name in NAMES if name != READS[user]])
async def test_streams_are_read_by_whom_they_are_for(user: str, stream: str, users: Users) -> None:
    js = getattr(users, user).nats.jetstream(timeout=0.3)
    for attempt in (
        js.add_consumer(stream, durable_name="spy"),
        js.add_consumer(stream, name="spy", filter_subject="auteur.>"),
        js.add_consumer(stream),
        js.get_msg(stream, 1),
        js.get_msg(stream, 1, direct=True),
    ):
        with pytest.raises(TimeoutError):  # the server does not even answer
            await attempt


@pytest.mark.parametrize("user", READS)
@pytest.mark.parametrize("stream", NAMES)
async def test_streams_are_kept_by_the_operator_alone(user: str, stream: str, users: Users) -> None:
    js = getattr(users, user).nats.jetstream(timeout=0.3)
    for attempt in (js.purge_stream(stream), js.delete_stream(stream), js.delete_consumer(stream, POOL)):
        with pytest.raises(TimeoutError):
            await attempt
