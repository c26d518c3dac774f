"""Sockets and event streams: live, resumed, told what they missed."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from auteur_gateway.cursor import Cursor
from auteur_kit.bus import Bus, EventLog
from tests.integration.gateway.conftest import Running, SettingsFactory, serving
from tests.integration.gateway.test_generations import accepted
from tests.support.memory_control import MemoryControl
from tests.support.waiting import eventually


def heard(gateway: Running, job: str) -> bool:
    """Whether a worker's fact has reached the gateway."""
    tracked = gateway.context.projection.state.named(job)
    return tracked is not None and bool(tracked.live.attempt)


async def receive(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 60))
    return message


async def until(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """Messages up to and with the first of a kind."""
    messages = [await receive(socket)]
    while messages[-1]["type"] != kind:
        messages.append(await receive(socket))
    return messages


async def start_over_socket(socket: ClientConnection, **fields: object) -> str:
    start = {"type": "start_generation", "id": "m-1", "task_type": "text_to_image", "params": {"prompt": "a star"}}
    await socket.send(json.dumps(start | fields))
    while True:
        message = await receive(socket)
        if message.get("reply_to") == "m-1":
            assert message["type"] == "task_started", message
            return str(message["task_id"])


async def test_a_job_started_on_the_socket_is_seen_to_its_end(light_gateway: Running, control: MemoryControl) -> None:
    async with connect(f"{light_gateway.ws_url}/ws/demo") as socket:
        job = await start_over_socket(socket, node_id="node-1")
        await control.has(job)
        await control.dispatch(job)
        await control.progress(job, 10, 20)
        await control.preview(job, "s3://auteur/default/demo/jobs/x/1/preview.webp", 10)
        await control.succeed(job, "image.png")
        messages = await until(socket, "complete")
        messages.append(await receive(socket))

    assert [message["type"] for message in messages] == [
        "task_started",
        "node_state_updated",
        "progress",
        "progress",
        "progress",
        "complete",
        "node_state_updated",
    ]
    assert {message["task_id"] for message in messages} == {job}
    assert {message["node_id"] for message in messages} == {"node-1"}
    assert [message["state"] for message in messages if message["type"] == "node_state_updated"] == [
        "generating",
        "completed",
    ]
    assert messages[3]["progress"] == 0.5
    assert messages[4]["preview_url"] == f"/v1/generations/{job}/preview?v=10"
    assert messages[5]["result"]["outputs"][0]["url"] == f"/v1/generations/{job}/outputs/image.png"
    assert messages[5]["result"]["metadata"]["seed"] is not None


async def test_the_same_start_sent_twice_starts_one_job(light_gateway: Running, control: MemoryControl) -> None:
    async with connect(f"{light_gateway.ws_url}/ws/demo") as socket:
        first = await start_over_socket(socket)
        assert await start_over_socket(socket) == first


async def test_a_socket_answers_what_it_does_not_understand(light_gateway: Running) -> None:
    async with connect(f"{light_gateway.ws_url}/ws/demo") as socket:
        await socket.send('{"type": "ping", "id": "p"}')
        assert (await receive(socket))["type"] == "pong"
        await socket.send("{")
        assert (await receive(socket))["error_code"] == "bad_request"
        await socket.send('{"type": "cancel", "id": "c", "task_id": "nobody"}')
        reply = await receive(socket)
        assert (reply["error_code"], reply["reply_to"]) == ("not_found", "c")
        await socket.send('{"type": "start_generation", "params": {"prompt": "x", "stepz": 3}}')
        reply = await receive(socket)
        assert (reply["error_code"], reply["details"]["field"]) == ("invalid_parameter", "params.stepz")


async def test_a_project_hears_its_own_jobs_only(light_gateway: Running, control: MemoryControl) -> None:
    async with connect(f"{light_gateway.ws_url}/ws/film") as socket:
        await accepted(light_gateway, control, project="demo")
        mine = await accepted(light_gateway, control, project="film")
        assert (await receive(socket))["task_id"] == mine


async def test_a_client_that_loses_its_connection_50_times_sees_every_event_once_in_order(
    light_gateway: Running, control: MemoryControl
) -> None:
    steps = 200
    job = await accepted(light_gateway, control, project="demo", node_id="node-1")
    async with connect(f"{light_gateway.ws_url}/ws/demo?after=0-0") as socket:
        cursor = (await receive(socket))["cursor"]

    async def play() -> None:
        await control.dispatch(job)
        for step in range(1, steps + 1):
            await control.progress(job, step, steps)
            await asyncio.sleep(0.005)  # a sampler's pace, so that the losses fall into the job
        await control.succeed(job, "image.png")

    playing = asyncio.create_task(play())
    seen: list[dict[str, Any]] = []
    losses = 0
    while not seen or seen[-1].get("state") != "completed":
        async with connect(f"{light_gateway.ws_url}/ws/demo?after={cursor}") as socket:
            wanted = 3 if losses < 50 else 10**9
            while wanted and not (seen and seen[-1].get("state") == "completed"):
                seen.append(await receive(socket))
                cursor = seen[-1]["cursor"]
                wanted -= 1
            if losses < 50:
                losses += 1
                socket.transport.abort()
    await playing

    assert losses == 50
    progress = [message["step"] for message in seen if message["type"] == "progress" and message["step"]]
    assert progress == list(range(1, steps + 1))
    told = [message["type"] for message in seen if message["type"] != "progress"]
    begun, ended = ["task_started", "node_state_updated"], ["complete", "node_state_updated"]
    assert told in (ended, begun + ended), "it was begun before the first cursor, or after"
    cursors = [Cursor.parse(message["cursor"]) for message in seen]
    places = [one.place for one in cursors if one]
    assert places == sorted(set(places))
    assert len(places) == len(seen) == steps + 3


@pytest.mark.parametrize("after", ["0123abcd-5", "nonsense"])
async def test_a_cursor_of_another_stream_gets_a_snapshot(
    light_gateway: Running, control: MemoryControl, after: str
) -> None:
    job = await accepted(light_gateway, control, project="demo")
    await control.succeed(job, "image.png")
    async with connect(f"{light_gateway.ws_url}/ws/demo?after={after}") as socket:
        snapshot = await receive(socket)
        assert snapshot["type"] == "snapshot"
        assert "rebuilt" in snapshot["reason"]
        assert [task["task_id"] for task in snapshot["tasks"]] == [job]
        again = await accepted(light_gateway, control, project="demo")
        while (message := await receive(socket))["task_id"] == job:
            pass
        assert message["task_id"] == again


async def test_a_rebuilt_stream_is_told_to_open_sockets(
    light_gateway: Running, control: MemoryControl, bus: Bus
) -> None:
    job = await accepted(light_gateway, control, project="demo")
    async with connect(f"{light_gateway.ws_url}/ws/demo") as socket:
        await (await socket.ping())
        await bus.js.delete_stream("EVENTS")
        await bus.ensure_streams()
        snapshot = (await until(socket, "snapshot"))[-1]
        assert [task["task_id"] for task in snapshot["tasks"]] == [job]
        await control.dispatch(job)
        assert (await receive(socket))["task_id"] == job


async def test_a_client_that_reads_slowly_is_told_what_it_missed_and_goes_on(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> None:
    async with serving(settings_for(sqlite_url, client_queue=5)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        job = await accepted(gateway, control, project="demo")
        await control.dispatch(job)
        await eventually(lambda: heard(gateway, job), "the worker to be heard")
        feed = gateway.context.feeds.open("demo", "")
        beginning = (await anext(feed))[0]
        for step in range(1, 20):
            await control.progress(job, step, 20)
        subscriber = next(iter(gateway.context.hub._sockets["demo"]))
        await eventually(lambda: subscriber.missed, "the overflow")
        last = (await EventLog(control.bus).position()).last
        await eventually(lambda: gateway.context.hub.last == last, "all events to be handed out")
        snapshot = json.loads((await anext(feed))[0].text)
        await control.succeed(job)
        complete = json.loads((await anext(feed))[0].text)
        await feed.aclose()

    assert (snapshot["type"], snapshot["missed_after"]) == ("snapshot", beginning.cursor)
    assert snapshot["tasks"][0]["progress"] == 0.95
    assert complete["type"] == "complete"


async def test_the_event_stream_says_the_same_and_resumes_by_last_event_id(
    light_gateway: Running, control: MemoryControl
) -> None:
    job = await accepted(light_gateway, control, project="demo")
    position = await EventLog(control.bus).position()
    await control.dispatch(job)
    await control.progress(job, 1, 2)
    await control.succeed(job)

    async def read(headers: dict[str, str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        async with light_gateway.http.stream("GET", "/v1/events?project=demo", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            cursor = ""
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                cursor = value if name == "id" else cursor
                if name == "event":
                    found.append((value, cursor))
                if found and found[-1][0] == "complete":
                    return found
        return found

    all_events = await read({"Last-Event-ID": f"{position.epoch}-0"})
    assert [kind for kind, _ in all_events] == ["task_started", "progress", "progress", "complete"]
    later = await read({"Last-Event-ID": all_events[1][1]})
    assert later == all_events[2:]


async def test_logs_are_read_and_followed_to_the_end(light_gateway: Running, control: MemoryControl) -> None:
    job = await accepted(light_gateway, control, project="demo")
    await control.dispatch(job)
    await control.log(job, "first")
    await eventually(lambda: heard(light_gateway, job), "the worker to be heard")

    async def lines() -> list[str]:
        answer = await light_gateway.http.get(f"/v1/generations/{job}/logs?follow=true", timeout=20)
        return [line for line in answer.text.splitlines() if line.startswith(("event:", "data:"))]

    reading = asyncio.create_task(lines())
    await eventually(lambda: light_gateway.context.hub._listeners.get(job), "the follower")
    await control.log(job, "second")
    await control.succeed(job)
    read = await reading
    assert [json.loads(line[6:])["line"] for line in read if '"line"' in line] == ["first", "second"]
    assert read[-2:] == ["event: end", 'data: {"status": "done"}']
    assert await lines() == read


class Follower:
    """`logs --follow`: what it was sent, as it comes."""

    def __init__(self, gateway: Running, job: str) -> None:
        self.lines: list[str] = []
        self.ids: list[str] = []
        self.end = ""
        self.task = asyncio.create_task(self._read(gateway, job))

    async def _read(self, gateway: Running, job: str) -> None:
        url = f"/v1/generations/{job}/logs?follow=true"
        async with gateway.http.stream("GET", url, timeout=30) as answer:
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    self.ids.append(value)
                elif name == "data":
                    said = json.loads(value)
                    self.lines += [said["line"]] if "line" in said else []
                    self.end = said.get("status", "")


async def test_followed_logs_end_though_the_last_fact_was_lost(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> None:
    async with serving(settings_for(sqlite_url, heartbeat="1")) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        job = await accepted(gateway, control, project="demo")
        await control.dispatch(job)
        follower = Follower(gateway, job)
        await control.log(job, "first")
        await eventually(lambda: follower.lines == ["first"], "the line")
        control.bus.silent = True
        await control.succeed(job)
        await eventually(lambda: follower.end, "the end")
        assert (follower.lines, follower.end) == (["first"], "done")
        await follower.task


async def test_followed_logs_end_when_the_job_is_deleted(light_gateway: Running, control: MemoryControl) -> None:
    job = await accepted(light_gateway, control, project="demo")
    await control.dispatch(job)
    follower = Follower(light_gateway, job)
    await control.log(job, "first")
    await eventually(lambda: follower.lines == ["first"], "the line")
    assert (await light_gateway.http.delete(f"/v1/generations/{job}")).status_code == 204
    await eventually(lambda: follower.end == "cancelled", "the end")
    await follower.task


async def test_lines_of_a_rebuilt_event_stream_are_read_and_none_is_repeated(
    light_gateway: Running, control: MemoryControl, bus: Bus
) -> None:
    job = await accepted(light_gateway, control, project="demo")
    await control.dispatch(job)
    follower = Follower(light_gateway, job)
    await control.log(job, "first")
    await eventually(lambda: follower.lines == ["first"], "the line")

    hub = light_gateway.context.hub
    epoch = hub.epoch
    await bus.js.delete_stream("EVENTS")
    await bus.ensure_streams()
    await control.log(job, "second")  # before the gateway knows of the new stream: nobody is handed this one
    await eventually(lambda: hub.epoch != epoch, "the new stream to be noticed")
    await control.log(job, "third")
    await control.succeed(job)
    await eventually(lambda: follower.end, "the end")
    assert (follower.lines, follower.end) == (["first", "second", "third"], "done")
    assert len(set(follower.ids)) == 3
    await follower.task


async def test_readers_that_stall_keep_nobody_from_resuming(light_gateway: Running, control: MemoryControl) -> None:
    job = await accepted(light_gateway, control, project="demo")
    await control.dispatch(job)
    for step in range(1, 81):  # more than one batch
        await control.progress(job, step, 80)
    await eventually(lambda: light_gateway.context.hub.last == 84, "the events to be handed out")
    beginning = f"{light_gateway.context.hub.epoch}-0"
    stalled = [light_gateway.context.feeds.open("demo", beginning) for _ in range(8)]
    try:
        for feed in stalled:
            assert len(await asyncio.wait_for(anext(feed), 60)) == 64
        ninth = light_gateway.context.feeds.open("demo", beginning)
        first, second = [await asyncio.wait_for(anext(ninth), 60) for _ in range(2)]
        assert [frame.place.sequence for frame in first + second] == [1, *range(4, 85)]
        await ninth.aclose()
    finally:
        for feed in stalled:
            await feed.aclose()
    assert light_gateway.context.hub.subscribers == 0


async def test_an_event_stream_that_fails_is_logged(
    light_gateway: Running, control: MemoryControl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    await accepted(light_gateway, control)
    await eventually(lambda: light_gateway.context.hub.last, "an event")
    monkeypatch.setattr(light_gateway.context.feeds._events, "position", broken)
    with pytest.raises(httpx.RemoteProtocolError):
        await light_gateway.http.get(f"/v1/events?after={light_gateway.context.hub.epoch}-0")
    said = capsys.readouterr().out
    assert "event stream failed" in said
    assert "a bug" in said


async def test_sockets_of_strangers_are_turned_away(light_gateway: Running) -> None:
    for url, headers, code in (
        ("/ws/demo", {"Origin": "https://evil.example"}, "forbidden"),
        ("/ws/Not_A_Project", {}, "not_found"),
    ):
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{light_gateway.ws_url}{url}", additional_headers=headers)
        assert json.loads(caught.value.response.body or b"{}")["error"]["code"] == code
    async with connect(f"{light_gateway.ws_url}/ws/demo", origin=Origin(light_gateway.url)):
        pass


async def test_a_socket_that_left_is_forgotten(light_gateway: Running) -> None:
    async with connect(f"{light_gateway.ws_url}/ws/demo"):
        await eventually(lambda: light_gateway.context.hub.subscribers == 1, "the socket")
    await eventually(lambda: light_gateway.context.hub.subscribers == 0, "its end to be noticed")


async def test_an_event_stream_that_left_is_forgotten(light_gateway: Running) -> None:
    async with httpx.AsyncClient() as http, http.stream("GET", f"{light_gateway.url}/v1/events"):
        await eventually(lambda: light_gateway.context.hub.subscribers == 1, "the stream")
    await eventually(lambda: light_gateway.context.hub.subscribers == 0, "its end to be noticed")
