"""`docs/founding.md` keeps its word on a real gateway: its paths answer, those that are not there yet do not, and the
socket refuses in a sentence."""

import json
import re

import httpx
from websockets.asyncio.client import connect

from tests.integration.gateway.conftest import Running
from tests.support.founding import Row, State, rows_of

BODIES = {"POST /v1/generations": {"prompt": "a star"}}


async def answer(gateway: Running, claim: str, job: str) -> httpx.Response:
    method, path = claim.split()
    path = re.sub(r"{\w+}", job, path)
    return await gateway.http.request(method, path, json=BODIES.get(claim), follow_redirects=False)


async def told_to_a_client(gateway: Running, message: dict[str, str]) -> dict[str, str]:
    async with connect(f"{gateway.ws_url}/ws/demo") as socket:
        await socket.send(json.dumps(message))
        while True:
            told: dict[str, str] = json.loads(await socket.recv())
            if told["type"] in ("error", "pong", "task_started"):
                return told


def http_rows() -> list[Row]:
    return [row for row in rows_of("path") if not row.asked.startswith("WS ")]


async def test_every_path_that_is_said_to_be_there_answers(light_gateway: Running) -> None:
    created = await light_gateway.http.post("/v1/generations", json=BODIES["POST /v1/generations"])
    job = created.json()["job_id"]
    claims = [row.present for row in http_rows() if row.present]
    assert len(claims) >= 10
    answers = {claim: (await answer(light_gateway, claim, job)).status_code for claim in claims}
    assert {claim: status for claim, status in answers.items() if status not in (200, 202)} == {}


async def test_no_path_that_is_said_to_be_absent_is_there(light_gateway: Running) -> None:
    claims = [row.absent for row in http_rows() if row.absent]
    assert len(claims) > 15
    for claim in claims:
        refused = await answer(light_gateway, claim, "x")
        assert refused.status_code == 404, claim
        assert "there is nothing at" in refused.json()["error"]["message"], claim


async def test_the_socket_is_where_it_is_said_to_be(light_gateway: Running) -> None:
    (row,) = [row for row in rows_of("path") if row.asked.startswith("WS ")]
    assert row.present == "WS /ws/{project_id}"
    assert (await told_to_a_client(light_gateway, {"type": "ping"}))["type"] == "pong"


async def test_a_message_that_is_said_to_be_refused_gets_a_sentence(light_gateway: Running) -> None:
    refused = [row for row in rows_of("client message") if row.state is State.REFUSED]
    assert refused
    for row in refused:
        told = await told_to_a_client(light_gateway, {"type": row.asked, "panel": "left"})
        assert told["type"] == "error", row
        assert row.asked in told["message"], told
