"""What is wrong is said clearly, in one shape, and leaves no trace in the queue."""

import contextlib
import json
import sqlite3
from typing import Any

import httpx
import pytest

from auteur_contracts.subjects import Verb
from auteur_gateway.database.repository import Repository
from auteur_kit.bus import Bus
from tests.integration.gateway.conftest import Running, SettingsFactory, serving
from tests.support.memory_control import MemoryControl, echo_runner
from tests.support.waiting import eventually

JSON = {"Content-Type": "application/json"}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error", "request_id", "timestamp"}, body
    assert body["request_id"] == answer.headers["x-request-id"]
    error: dict[str, Any] = body["error"]
    assert set(error) == {"code", "message", "details"}
    return error


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b'{"prompt": ', 400, "bad_request", "not JSON"),
        (b'{"prompt": "x", "params": {"steps": NaN}}', 400, "bad_request", "NaN is not a JSON number"),
        (b'{"prompt": "\\ud800"}', 400, "bad_request", "surrogate"),
        (b"\xff", 400, "bad_request", "UTF-8"),
        (b"[" * 5000 + b"]" * 5000, 400, "bad_request", "nested too deeply"),
        (b'{"prompt": "x", "params": {"seed": ' + b"9" * 6000 + b"}}", 400, "bad_request", "not JSON"),
        (b'"x"', 422, "invalid_request", ""),
        (b'{"prompt": ""}', 422, "invalid_request", "prompt"),
        (b'{"promt": "x"}', 422, "invalid_request", "promt: there is no such field"),
        (b'{"prompt": "x", "name": "../x"}', 422, "invalid_request", "name"),
        (b'{"prompt": "x", "project": "../x"}', 422, "invalid_request", "project"),
        (b'{"prompt": "x", "node_id": "a\\u0000b"}', 422, "invalid_request", "node_id"),
        (b'{"prompt": "x", "quality": "best"}', 422, "invalid_request", "quality"),
        (b'{"prompt": "x", "quality": "ultra"}', 422, "tier_not_offered", "ultra"),
        (b'{"prompt": "x", "function": "to-dream"}', 422, "unknown_function", "to-dream"),
        (b'{"prompt": "x", "runner": "nobody"}', 422, "unknown_runner", "nobody"),
        (b'{"prompt": "x", "params": {"stepz": 3}}', 422, "invalid_parameter", 'did you mean "steps"'),
        (b'{"prompt": "x", "params": {"steps": 0}}', 422, "invalid_parameter", "steps"),
        (b'{"params": {}}', 422, "invalid_parameter", "prompt"),
        (b'{"prompt": "x", "params": {"prompt": "y"}}', 422, "invalid_request", "differ"),
        (b'{"prompt": "x", "inputs": [{"name": "image"}]}', 422, "invalid_input", "image"),
        (b'{"prompt": "x", "inputs": [{"name": "image", "uri": "s3://o/../x"}]}', 422, "invalid_input", "image"),
        (b'{"prompt": "' + b"x" * 100_000 + b'"}', 422, "invalid_request", "prompt"),
        (b'{"prompt": "' + b"x" * 2_000_000 + b'"}', 413, "too_large", "1 MiB"),
    ],
)
async def test_a_wrong_request_is_named(
    light_gateway: Running, control: MemoryControl, body: bytes, status: int, code: str, says: str
) -> None:
    answer = await light_gateway.http.post("/v1/generations", content=body, headers=JSON)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (status, code), answer.text
    assert says in error["message"], error
    assert len(answer.text) < 3000
    assert control.bus.commands == []


async def test_a_job_that_no_message_could_hold_is_refused(light_gateway: Running, control: MemoryControl) -> None:
    notes = {f"note-{number}": "x" * 30_000 for number in range(9)}
    document = {"metadata": {"name": "star", "annotations": notes}, "spec": {"params": {"prompt": "a star"}}}
    answer = await light_gateway.http.put("/v1/resources/GenerationJob/star", json=document)
    assert (answer.status_code, error_of(answer)["details"]["field"]) == (422, "metadata.annotations")
    assert "annotations: they have 270054 bytes together and may have 258048" in error_of(answer)["message"]

    control.offer(echo_runner(longest_prompt=2**20))
    runners = light_gateway.context.catalogue.runners
    await eventually(lambda: light_gateway.context.catalogue.runners != runners, "the new schema")
    answer = await light_gateway.http.post("/v1/generations", json={"params": {"prompt": "x" * 400_000}})
    assert (answer.status_code, error_of(answer)["details"]["field"]) == (422, "params")
    assert "large data belongs into files" in error_of(answer)["message"]

    # Each part as large as it may be: together they are more than a message holds.
    notes = {f"note-{number}": "x" * 32_200 for number in range(8)}
    labels = {f"{'label' * 10}-{number}": "x" * 63 for number in range(64)}
    metadata = {"name": "star", "annotations": notes, "labels": labels}
    document = {"metadata": metadata, "spec": {"params": {"prompt": "x" * 131_050}}}
    answer = await light_gateway.http.put("/v1/resources/GenerationJob/star", json=document)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")
    assert "may have 384; upload large things" in error_of(answer)["message"]
    assert control.bus.commands == []


async def test_a_command_that_the_bus_never_takes_fails_its_job_and_holds_up_nobody(
    light_gateway: Running, control: MemoryControl, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auteur_gateway.drafts.LARGEST_JOB", 2**30)
    monkeypatch.setattr(light_gateway.context.bus.nats, "_max_payload", 64 * 1024)
    document = {
        "metadata": {"name": "star", "annotations": {"note": "x" * 70_000}},
        "spec": {"params": {"prompt": "a star"}},
    }
    assert (await light_gateway.http.put("/v1/resources/GenerationJob/star", json=document)).status_code == 201

    async def failed() -> bool:
        return bool((await light_gateway.http.get("/v1/generations/star")).json()["status"] == "failed")

    await eventually(failed, "the job to fail")
    reply = (await light_gateway.http.get("/v1/generations/star")).json()
    assert "too large" in reply["message"]
    await eventually(lambda: not len(light_gateway.context.projection.state), "the archive")
    assert (await light_gateway.http.delete("/v1/generations/star")).status_code == 204
    await eventually(lambda: ("star", Verb.DELETE) in control.bus.commands, "the lane to go on")


async def test_a_body_in_pieces_is_counted_too(light_gateway: Running) -> None:
    async def pieces() -> Any:
        for _ in range(40):
            yield b"x" * 65536

    answer = await light_gateway.http.post("/v1/generations", content=pieces(), headers=JSON)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")


async def test_a_wrong_parameter_names_its_field(light_gateway: Running) -> None:
    answer = await light_gateway.http.post("/v1/generations", json={"prompt": "x", "params": {"steps": 501}})
    assert error_of(answer)["details"]["field"] == "params.steps"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/generations/nobody", 404, "not_found"),
        ("GET", "/v1/generations/Not%00AName/status", 404, "not_found"),
        ("GET", "/v1/generations/..%2F..%2Fetc", 404, "not_found"),
        ("POST", "/v1/generations/nobody/cancel", 404, "not_found"),
        ("DELETE", "/v1/generations/nobody", 404, "not_found"),
        ("GET", "/v1/generations?cursor=abc", 422, "invalid_request"),
        ("GET", "/v1/generations?limit=0", 422, "invalid_request"),
        ("GET", "/v1/generations?status=dreaming", 422, "invalid_request"),
        ("PATCH", "/v1/generations", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/resources/Pod/x", 404, "not_found"),
        ("GET", "/v1/resources/GenerationJob/x?namespace=other", 404, "not_found"),
    ],
)
async def test_what_is_not_there_is_said_with_what_there_is(
    light_gateway: Running, method: str, path: str, status: int, code: str
) -> None:
    answer = await light_gateway.http.request(method, path)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


async def test_an_unknown_job_is_a_helpful_404(light_gateway: Running) -> None:
    error = error_of(await light_gateway.http.get("/v1/generations/nobody"))
    assert error["message"] == (
        'there is no generation "nobody" in namespace default; GET /v1/generations lists those there are'
    )


async def test_a_full_queue_says_when_to_come_back(
    control: MemoryControl, database_url: str, settings_for: SettingsFactory
) -> None:
    async with serving(settings_for(database_url, queue_limit=2)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        both = await gateway.http.post("/v1/generations", json={"prompt": "a star", "count": 2, "name": "star"})
        full = await gateway.http.post("/v1/generations", json={"prompt": "a star"})
        assert both.status_code == 202
        assert (full.status_code, error_of(full)["code"], full.headers["retry-after"]) == (429, "queue_full", "5")
        await control.has("star-1")
        await control.succeed("star-1")

        async def room() -> bool:
            return (await gateway.http.post("/v1/generations", json={"prompt": "a star"})).status_code == 202

        await eventually(room, "room in the queue")


async def test_without_a_runner_there_is_a_503(bus: object, sqlite_url: str, settings_for: SettingsFactory) -> None:
    async with serving(settings_for(sqlite_url)) as gateway:
        answer = await gateway.http.post("/v1/generations", json={"prompt": "a star"})
        assert (answer.status_code, error_of(answer)["code"]) == (503, "catalogue_empty")
        assert "retry-after" in answer.headers


async def test_a_database_that_fails_is_told_with_its_cause_and_when_to_come_back(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real fault of a real database: somebody else holds its lock for longer than we wait."""
    async with serving(settings_for(sqlite_url)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        file = sqlite_url.partition("///")[2]
        with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            answer = await gateway.http.post("/v1/generations", json={"prompt": "a star"}, timeout=60)
        error = error_of(answer)
        assert (answer.status_code, error["code"], answer.headers["retry-after"]) == (503, "unavailable", "2")
        assert error["details"] == {"cause": "database is locked"}

        async def taken() -> bool:
            return (await gateway.http.post("/v1/generations", json={"prompt": "a star"})).status_code == 202

        await eventually(taken, "the database to take writes again")

    said = capfd.readouterr()
    told = [line for line in (said.out + said.err).splitlines() if "request not served" in line]
    assert any(answer.headers["x-request-id"] in line and "OperationalError" in line for line in told), (
        "the log has what led to it, in the driver's words, under the request's id"
    )


async def test_tokens_are_asked_for(control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory) -> None:
    async with serving(settings_for(sqlite_url, tokens="first, second")) as gateway:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer second"}, 200),
        ):
            answer = await gateway.http.get("/v1/generations", headers=headers)
            assert answer.status_code == status
        assert (await gateway.http.get("/livez")).status_code == 200
        assert (await gateway.http.get("/v1/events?token=wrong")).status_code == 401


async def test_another_host_name_is_refused(light_gateway: Running) -> None:
    answer = await light_gateway.http.get("/v1/generations", headers={"Host": "evil.example"})
    assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden")


async def test_request_ids_are_taken_over_and_given(light_gateway: Running) -> None:
    given = await light_gateway.http.get("/v1/generations", headers={"X-Request-ID": "abc-1"})
    made = await light_gateway.http.get("/v1/generations", headers={"X-Request-ID": "not one"})
    assert given.headers["x-request-id"] == "abc-1"
    assert len(made.headers["x-request-id"]) == 32


async def test_a_bug_says_nothing_of_our_insides(light_gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Repository, "find", broken)
    answer = await light_gateway.http.get("/v1/generations/x")
    assert (answer.status_code, error_of(answer)["code"]) == (500, "internal")
    assert "secret" not in json.dumps(answer.json())


async def test_pages_of_other_origins_may_call_where_allowed(light_gateway: Running) -> None:
    good = await light_gateway.http.get("/v1/functions", headers={"Origin": "http://localhost:3000"})
    evil = await light_gateway.http.post("/v1/generations/x/cancel", headers={"Origin": "https://evil.example"})
    assert good.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert (evil.status_code, error_of(evil)["code"]) == (403, "forbidden")
