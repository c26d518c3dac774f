"""The bus against a real nats-server, which is killed in the middle."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sized
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from auteur_contracts.errors import Unavailable
from auteur_contracts.orders import Heartbeat, WorkerState
from auteur_contracts.subjects import EVENTS, WORK, Fact, JobFact, Work, pool_work, project_events
from auteur_contracts.subjects import Heartbeat as HeartbeatSubject
from auteur_kit import streams, telemetry
from auteur_kit.address import Address, address_of
from auteur_kit.bus import Bus, Consumer, Delivery, EventLog, Position, TooLarge
from auteur_kit.bus.connection import heeding_cancel
from auteur_kit.settings import NatsSettings
from tests.support.disks import fill, small_disk
from tests.support.servers import ServerProcess, nats_server
from tests.support.tasks import running
from tests.support.waiting import eventually

WORKERS = Consumer(streams.WORK, "echo", pool_work("echo"), ack_wait=2.0)


def progress_of(project: str, uid: str = "u1") -> str:
    return str(JobFact("default", project, uid, Fact.PROGRESSED))


async def test_no_acknowledged_message_is_lost_when_the_server_is_killed(
    own_nats: tuple[ServerProcess, NatsSettings],
) -> None:
    server, settings = own_nats
    stored: list[int] = []
    handled: dict[int, int] = {}

    async def handle(batch: list[Delivery]) -> None:
        for delivery in batch:
            number = int(delivery.data)
            handled[number] = handled.get(number, 0) + 1
            await delivery.ack()

    def more_than(messages: Sized, count: int) -> Callable[[], bool]:
        return lambda: len(messages) > count

    async def publish_for_ever(bus: Bus) -> None:
        for number in range(100_000):
            await bus.publish(Work("echo", f"u{number}"), str(number).encode(), msg_id=f"m{number}", patience=30)
            stored.append(number)
            await asyncio.sleep(0)

    async with (
        Bus.connect(settings, name="worker") as worker,
        Bus.connect(settings, name="sender", owns_streams=True) as sender,
    ):
        await sender.ensure_streams()
        async with running(worker.consume(WORKERS, handle)):
            async with running(publish_for_ever(sender)):
                for _ in range(2):
                    await eventually(more_than(stored, len(stored) + 50), "messages to be stored")
                    await eventually(more_than(handled, len(handled) + 50), "messages to be handled")
                    await asyncio.to_thread(server.restart)
            await eventually(lambda: set(stored) <= set(handled), "every stored message to be handled")
    assert len(stored) > 100
    assert max(handled.values()) <= 3, "duplicates come from the kills only"


async def test_work_goes_on_as_soon_as_a_killed_server_is_back(own_nats: tuple[ServerProcess, NatsSettings]) -> None:
    """A pull and a publish that were under way at the kill do not wait for their time to run out."""
    server, settings = own_nats
    seen: list[bytes] = []

    async def handle(batch: list[Delivery]) -> None:
        for delivery in batch:
            seen.append(delivery.data)
            await delivery.ack()

    async with Bus.connect(settings, name="worker", owns_streams=True) as bus:
        await bus.ensure_streams()
        async with running(bus.consume(WORKERS, handle)):
            await bus.publish(Work("echo", "u1"), b"1", msg_id="m1")
            await eventually(lambda: seen == [b"1"], "the first message")
            server.pause()
            publishing = asyncio.ensure_future(bus.publish(Work("echo", "u2"), b"2", msg_id="m2"))
            server.kill()
            await asyncio.to_thread(server.start)
            await asyncio.wait_for(publishing, 2.5)
            await eventually(lambda: seen == [b"1", b"2"], "the message after the restart", seconds=2.5)


async def test_the_same_message_id_is_one_message(bus: Bus) -> None:
    first = await bus.publish(Work("echo", "u1"), b"one", msg_id="same")
    second = await bus.publish(Work("echo", "u1"), b"one", msg_id="same")
    other = await bus.publish(Work("echo", "u1"), b"two", msg_id="other")
    assert first == second
    assert other == first + 1


async def test_a_message_that_is_not_acknowledged_comes_again(bus: Bus) -> None:
    seen: list[int] = []

    async def handle(batch: list[Delivery]) -> None:
        seen.extend(delivery.deliveries for delivery in batch)
        if len(seen) == 1:
            raise RuntimeError("the handler fails once")
        for delivery in batch:
            await delivery.ack()

    await bus.publish(Work("echo", "u1"), b"1", msg_id="m1")
    async with running(bus.consume(WORKERS, handle)):
        await eventually(lambda: len(seen) == 2, "the second delivery")
    assert seen == [1, 2]


async def test_streams_come_back_when_they_were_deleted_under_a_consumer(bus: Bus) -> None:
    seen: list[bytes] = []

    async def handle(batch: list[Delivery]) -> None:
        for delivery in batch:
            seen.append(delivery.data)
            await delivery.ack()

    async with running(bus.consume(WORKERS, handle)):
        await bus.publish(Work("echo", "u1"), b"1", msg_id="m1")
        await eventually(lambda: seen == [b"1"], "the first message")
        await bus.js.delete_stream(streams.WORK)
        await bus.publish(Work("echo", "u2"), b"2", msg_id="m2")
        await eventually(lambda: seen == [b"1", b"2"], "the message after the stream was rebuilt")


async def test_a_request_that_nobody_serves_says_so(bus: Bus) -> None:
    with pytest.raises(Unavailable, match=r"nobody answers on auteur\.claim\.v1\.default"):
        await bus.request("auteur.claim.v1.default", b"")


async def test_a_request_that_is_served_slowly_ends_at_its_timeout(bus: Bus) -> None:
    never = asyncio.Event()

    async def ponder(_subject: str, _data: bytes) -> bytes:
        await never.wait()
        return b""

    listener = await bus.answer("auteur.claim.v1.default", ponder)
    with pytest.raises(Unavailable, match="no answer"):
        await bus.request("auteur.claim.v1.default", b"", timeout=0.2)
    await listener.stop()
    never.set()


async def test_request_and_reply_survive_a_killed_server(own_nats: tuple[ServerProcess, NatsSettings]) -> None:
    server, settings = own_nats

    async def double(_subject: str, data: bytes) -> bytes:
        return data + data

    async with Bus.connect(settings, name="server") as answering, Bus.connect(settings, name="client") as asking:
        await answering.answer("auteur.claim.v1.default", double)
        assert await asking.request("auteur.claim.v1.default", b"a") == b"aa"
        await asyncio.to_thread(server.restart)

        async def answered() -> bool:
            with contextlib.suppress(Unavailable):
                return await asking.request("auteur.claim.v1.default", b"b", timeout=1) == b"bb"
            return False

        await eventually(answered, "an answer after the restart")


async def test_what_is_said_is_heard_and_dropped_without_a_connection(
    own_nats: tuple[ServerProcess, NatsSettings],
) -> None:
    server, settings = own_nats
    heard: list[bytes] = []

    async def hear(_subject: str, data: bytes) -> None:
        heard.append(data)

    beat = Heartbeat(worker="w1", pool="echo", runner="echo", state=WorkerState.READY)
    async with Bus.connect(settings, name="listener") as bus:
        await bus.listen("auteur.worker.v1.>", hear)
        await bus.say(HeartbeatSubject("echo", "w1"), beat)
        await eventually(lambda: len(heard) == 1, "the heartbeat")
        connected_before = bus.connected_since
        server.kill()
        await eventually(lambda: not bus.connected, "the loss to be noticed")
        await bus.say(HeartbeatSubject("echo", "w1"), beat)
        await asyncio.to_thread(server.start)
        await eventually(lambda: bus.connected, "the reconnect")
        await bus.say(HeartbeatSubject("echo", "w1"), beat)
        await eventually(lambda: len(heard) == 2, "the heartbeat after the reconnect")
        assert bus.connected_since > connected_before
    assert Heartbeat.model_validate_json(heard[1]) == beat


async def test_publish_gives_up_at_the_end_of_its_patience(own_nats: tuple[ServerProcess, NatsSettings]) -> None:
    server, settings = own_nats
    async with Bus.connect(settings, name="sender", owns_streams=True) as bus:
        await bus.ensure_streams()
        server.kill()
        await eventually(lambda: not bus.connected, "the loss to be noticed")
        with pytest.raises(Unavailable, match="did not take a message"):
            await bus.publish(Work("echo", "u1"), b"1", msg_id="m1", patience=0.3)


async def test_connecting_to_nobody_is_unavailable() -> None:
    nobody = NatsSettings.model_validate({"url": "nats://127.0.0.1:1", "connect_timeout": "500ms"})
    with pytest.raises(Unavailable, match="does not answer"):
        await Bus.connect(nobody, name="test").__aenter__()


async def test_connecting_with_a_wrong_password_is_unavailable(nats_settings: NatsSettings) -> None:
    wrong = NatsSettings.model_validate(
        {"url": nats_settings.url, "user": "auteur", "password": "wrong", "connect_timeout": "1s"}
    )
    with pytest.raises(Unavailable):
        await Bus.connect(wrong, name="test").__aenter__()


async def test_replay_after_a_cursor_gives_exactly_the_missing_events(bus: Bus) -> None:
    for number in range(20):
        project = "mine" if number % 2 else "other"
        await bus.publish(progress_of(project), str(number).encode(), msg_id=f"m{number}")
    position = await EventLog(bus).position()
    assert (position.first, position.last) == (1, 20)

    async def replayed(after: int, until: int, subject: str = EVENTS) -> list[int]:
        return [int(delivery.data) async for delivery in EventLog(bus).replay(subject, after=after, until=until)]

    assert await replayed(5, 20) == list(range(5, 20))
    assert await replayed(5, 10) == list(range(5, 10))
    assert await replayed(20, 20) == []
    assert await replayed(5, 20, project_events("default", "mine")) == [5, 7, 9, 11, 13, 15, 17, 19]
    assert await replayed(5, 9, project_events("default", "mine")) == [5, 7]
    assert await replayed(0, 20, project_events("default", "nobodys")) == []


async def test_a_long_replay_comes_whole_and_in_order(bus: Bus) -> None:
    await asyncio.gather(*(bus.publish(progress_of("mine"), b"x", msg_id=f"m{number}") for number in range(700)))
    sequences = [d.sequence async for d in EventLog(bus).replay(project_events("default", "mine"), after=0, until=700)]
    assert sequences == list(range(1, 701))


async def test_follow_gives_every_event_and_resets_when_the_stream_was_rebuilt(
    own_nats: tuple[ServerProcess, NatsSettings],
) -> None:
    server, settings = own_nats
    resets: list[Position] = []
    seen: list[tuple[str, int]] = []

    async def on_reset(position: Position) -> None:
        resets.append(position)

    async def handle(batch: list[Delivery], epoch: str) -> None:
        seen.extend((epoch, int(delivery.data)) for delivery in batch)

    async with (
        Bus.connect(settings, name="follower") as follower,
        Bus.connect(settings, name="sender", owns_streams=True) as sender,
    ):
        await sender.ensure_streams()
        await sender.publish(progress_of("mine"), b"0", msg_id="before")
        async with running(EventLog(follower).follow(handle, on_reset)):
            await eventually(lambda: len(resets) == 1, "the first reset")
            for number in range(1, 11):
                await sender.publish(progress_of("mine"), str(number).encode(), msg_id=f"a{number}")
            await eventually(lambda: len(seen) == 10, "the events")
            await asyncio.to_thread(server.restart)
            await eventually(lambda: len(resets) == 2, "the reset after the restart")
            for number in range(11, 21):
                await sender.publish(progress_of("mine"), str(number).encode(), msg_id=f"a{number}")
            await eventually(lambda: len(seen) == 20, "the events after the restart")
    first, second = (position.epoch for position in resets)
    assert first != second, "the memory stream began anew: its sequences mean other events"
    assert resets[0].last == 1
    assert seen == [(first, number) for number in range(1, 11)] + [(second, number) for number in range(11, 21)]


async def test_follow_resets_when_its_handler_fails(bus: Bus) -> None:
    resets: list[Position] = []
    seen: list[int] = []

    async def on_reset(position: Position) -> None:
        resets.append(position)

    async def handle(batch: list[Delivery], _epoch: str) -> None:
        if not seen and len(resets) == 1:
            raise RuntimeError("the handler fails once")
        seen.extend(int(delivery.data) for delivery in batch)

    async with running(EventLog(bus).follow(handle, on_reset)):
        await eventually(lambda: len(resets) == 1, "the first reset")
        await bus.publish(progress_of("mine"), b"1", msg_id="m1")
        await eventually(lambda: len(resets) == 2, "a reset that says that event 1 was missed")
        await bus.publish(progress_of("mine"), b"2", msg_id="m2")
        await eventually(lambda: 2 in seen, "the next event")
    assert resets[1].last == 1


async def test_documents_are_the_newest_only(bus: Bus) -> None:
    assert await bus.get_document("catalogue", "runners.default") is None
    await bus.put_document("catalogue", "runners.default", b"1")
    await bus.put_document("catalogue", "runners.default", b"2")
    assert await bus.get_document("catalogue", "runners.default") == b"2"
    assert await bus.get_document("catalogue", "runners.other") is None


async def test_ensuring_streams_again_brings_them_to_our_configuration(bus: Bus) -> None:
    foreign = streams.STREAMS[2].evolve(duplicate_window=5.0)
    await bus.js.update_stream(foreign)
    await bus.ensure_streams()
    info = await bus.js.stream_info(streams.WORK)
    assert info.config.duplicate_window == streams.STREAMS[2].duplicate_window
    assert info.config.subjects == [WORK]


def settings_of(url: str, **changes: object) -> NatsSettings:
    return NatsSettings.model_validate({"url": url, "connect_timeout": "1s", **changes})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://host:4222", Address("nats://host:4222", "auteur", "own")),
        ("host:4222", Address("host:4222", "auteur", "own")),
        ("nats://u:a%40b@host:4222", Address("nats://host:4222", "u", "a@b")),
        ("tls://u:p@w@host", Address("tls://host", "u", "p@w")),
        ("u:p@host:4222", Address("nats://host:4222", "u", "p")),
        ("nats://t0ken@host:4222", Address("nats://host:4222", None, None, token="t0ken")),
    ],
)
def test_credentials_of_a_url_are_used_and_not_shown(url: str, address: Address) -> None:
    assert address_of(settings_of(url, password="own")) == address


async def test_a_url_may_carry_user_and_password(nats_settings: NatsSettings) -> None:
    secret = nats_settings.password.get_secret_value()
    url = nats_settings.url.replace("nats://", f"nats://{nats_settings.user}:{secret}@")
    async with Bus.connect(settings_of(url), name="test") as bus:
        assert bus.connected


async def test_refused_credentials_are_told_as_that_and_never_shown(nats_settings: NatsSettings) -> None:
    url = nats_settings.url.replace("nats://", "nats://eve:s3cret@")
    with pytest.raises(Unavailable) as told:
        async with Bus.connect(settings_of(url), name="test"):
            pytest.fail("it let a stranger in")
    assert str(told.value) == f'NATS refuses the credentials of user "eve" at {nats_settings.url}'


async def test_a_server_that_is_not_there_is_told_with_the_last_cause() -> None:
    with pytest.raises(
        Unavailable, match=r"NATS does not answer at nats://127.0.0.1:1 within 1 s: .*Connect call failed"
    ):
        async with Bus.connect(settings_of("nats://u:s3cret@127.0.0.1:1"), name="test"):
            pytest.fail("nobody listens there")


async def test_a_message_that_is_too_large_is_refused_at_once_and_the_next_one_goes(bus: Bus) -> None:
    subject, limit = Work("echo", "u1"), bus.nats.max_payload
    for size in (limit + 1, limit - 10):  # the second only with its headers
        with pytest.raises(TooLarge, match=f"this NATS takes at most {limit}"):
            await bus.publish(subject, b"x" * size, msg_id="m1", patience=3600)
    with pytest.raises(TooLarge):
        await bus.request("auteur.nobody", b"x" * (limit + 1))
    assert await bus.publish(subject, b"x", msg_id="m2") == 1


async def test_a_consumer_ends_when_it_is_cancelled_whatever_arrives_at_that_moment(bus: Bus) -> None:
    """`asyncio.wait_for`, which the library waits by, forgets a cancellation that meets a message."""
    taken = asyncio.Event()

    async def take(batch: list[Delivery]) -> None:
        for delivery in batch:
            await delivery.ack()
        taken.set()

    for number in range(60):
        taken.clear()
        consuming = asyncio.create_task(bus.consume(Consumer(streams.WORK, "cancelled", WORK, batch=8), take))
        await bus.publish(Work("echo", "u1"), b"first", msg_id=f"first-{number}")
        await asyncio.wait_for(taken.wait(), 60)
        await bus.publish(Work("echo", "u1"), b"second", msg_id=f"second-{number}")  # comes about when its ack does
        for _ in range(number % 6):
            await asyncio.sleep(0)
        consuming.cancel()
        _, unending = await asyncio.wait([consuming], timeout=5)
        assert not unending


async def test_a_cancellation_that_meets_an_error_of_the_server_is_heeded() -> None:
    """As when a full disk ends a program, and NATS says at that moment that it has no room for a consumer either."""
    refusal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask_for_ever() -> None:
        for _ in range(100):
            with contextlib.suppress(NatsError), heeding_cancel():
                await asyncio.wait_for(refusal, 60)

    asking = asyncio.create_task(ask_for_ever())
    await asyncio.sleep(0)
    refusal.set_exception(NatsError("no space left on device"))
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk")
async def test_streams_that_a_full_disk_closed_are_named_until_the_server_starts_again(tmp_path: Path) -> None:
    with small_disk(tmp_path, megabytes=20) as disk:
        server, settings = nats_server(disk / "nats")
        await asyncio.to_thread(server.start)
        try:
            async with Bus.connect(settings, name="owner", owns_streams=True) as bus:
                await bus.ensure_streams()
                assert await bus.unwritable_streams() == {}
                fill(disk / "filler")
                with pytest.raises(Unavailable):
                    await bus.publish(Work("echo", "u1"), b"no room" * 16_000, msg_id="m1", patience=1)
                (disk / "filler").unlink()
                closed = await bus.unwritable_streams()
                assert list(closed) == [streams.WORK]
                assert closed[streams.WORK].endswith("no space left on device")
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                await bus.publish(Work("echo", "u1"), b"room", msg_id="m2", patience=60)
                assert await bus.unwritable_streams() == {}
        finally:
            server.kill()


async def test_who_does_not_own_the_streams_waits_for_them_and_says_so(
    fresh_nats: NatsSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker, a reader and a sender that are up before the control plane."""
    handled: list[bytes] = []
    followed: list[bytes] = []

    async def handle(batch: list[Delivery]) -> None:
        handled.extend(delivery.data for delivery in batch)

    async def follow(batch: list[Delivery], _epoch: str) -> None:
        followed.extend(delivery.data for delivery in batch)

    async def on_reset(_position: Position) -> None:
        pass

    async with (
        Bus.connect(fresh_nats, name="early") as early,
        Bus.connect(fresh_nats, name="control plane", owns_streams=True) as owner,
        running(early.consume(WORKERS, handle)),
        running(EventLog(early).follow(follow, on_reset)),
    ):
        with pytest.raises(Unavailable, match="it has no stream for it yet; the control plane makes it"):
            await early.publish(Work("echo", "u1"), b"1", msg_id="m1", patience=0.1)
        with pytest.raises(Unavailable, match="the event stream is not there yet: the control plane makes it"):
            await EventLog(early).position()
        publishing = asyncio.ensure_future(early.publish(Work("echo", "u1"), b"1", msg_id="m1"))
        await eventually(lambda: capsys.readouterr().out.count("waiting for the control plane") > 0, "the warning")
        assert await early.js.streams_info() == []

        await owner.ensure_streams()
        assert await publishing == 1
        await eventually(lambda: handled == [b"1"], "the order")
        await eventually(lambda: _has_reader(owner), "the follower")
        await owner.publish(progress_of("mine"), b"2", msg_id="m2")
        await eventually(lambda: followed == [b"2"], "the event")


async def _has_reader(bus: Bus) -> bool:
    return (await bus.js.stream_info(streams.EVENTS)).state.consumer_count > 0


async def test_streams_are_made_by_their_owner_only(bus: Bus, fresh_nats: NatsSettings) -> None:
    async with Bus.connect(fresh_nats, name="worker") as worker:
        with pytest.raises(AssertionError, match="only the control plane makes streams"):
            await worker.ensure_streams()


async def test_what_is_said_on_behalf_of_a_trace_carries_it_and_nothing_else_does(bus: Bus) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    taken: list[str] = []
    asked: list[str] = []

    async def take(batch: list[Delivery]) -> None:
        for delivery in batch:
            with delivery.processing():
                taken.append(telemetry.traceparent())
            await delivery.ack()

    async def answer(_subject: str, _data: bytes) -> bytes:
        asked.append(telemetry.traceparent())
        return b""

    await bus.answer("auteur.claim.v1.default", answer)
    async with running(bus.consume(WORKERS, take)):
        with telemetry.carry(parent):
            await bus.publish(Work("echo", "u1"), b"1", msg_id="m1")
            await bus.request("auteur.claim.v1.default", b"")
        await bus.publish(Work("echo", "u2"), b"2", msg_id="m2")
        await bus.request("auteur.claim.v1.default", b"")
        await bus.publish(Work("echo", "u3"), b"3", msg_id="m3", headers={"traceparent": parent})
        await eventually(lambda: len(taken) == 3, "three orders")
    assert taken == [parent, "", parent]
    assert asked == [parent, ""]
