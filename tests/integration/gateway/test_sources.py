"""Jobs that work on another job's output, and jobs that are made again as they were."""

from typing import Any

import httpx

from auteur_contracts.resources import Failure
from auteur_contracts.vocabulary import Fault, Reason
from tests.integration.gateway.conftest import Running
from tests.integration.gateway.test_generations import accepted
from tests.integration.gateway.test_resources import resource
from tests.support.memory_control import MemoryControl, echo_runner
from tests.support.waiting import eventually


async def finished(gateway: Running, control: MemoryControl, name: str, *outputs: str) -> None:
    await accepted(gateway, control, name=name)
    await control.succeed(name, *outputs)
    await control.released(name)


async def from_job(gateway: Running, job: str, **fields: object) -> httpx.Response:
    given = {"name": "image", "job": job, **{name: fields.pop(name) for name in ("output",) if name in fields}}
    body = {"function": "image-to-image", "prompt": "a star", "inputs": [given], **fields}
    return await gateway.http.post("/v1/generations", json=body)


def refusal(answer: httpx.Response) -> tuple[int, str, str, str]:
    error: dict[str, Any] = answer.json()["error"]
    return answer.status_code, error["code"], error["details"]["field"], error["message"]


async def test_an_input_of_a_job_that_never_was_is_refused(gateway: Running, control: MemoryControl) -> None:
    status, code, field, message = refusal(await from_job(gateway, "nobody"))
    assert (status, code, field) == (422, "invalid_input", "inputs.image")
    assert 'there is no job "nobody"' in message
    assert control.bus.commands == []


async def test_a_job_that_waits_for_another_takes_it_by_name(light_gateway: Running, control: MemoryControl) -> None:
    await accepted(light_gateway, control, name="first")
    answer = await from_job(light_gateway, "first", name="second")
    assert answer.status_code == 202, answer.text
    await control.has("second")
    source = control.job("second").spec.inputs[0].from_
    assert source is not None
    assert source.job == "first"


async def test_an_old_picture_is_taken_from_where_it_lies(gateway: Running, control: MemoryControl) -> None:
    await finished(gateway, control, "first", "image.png")
    made = (await control.expire("first")).status.outputs[0]
    answer = await from_job(gateway, "first", name="second")
    assert answer.status_code == 202, answer.text
    await control.has("second")
    assert [item.uri for item in control.job("second").spec.inputs] == [made.uri]


async def test_which_output_is_meant_must_be_clear(light_gateway: Running, control: MemoryControl) -> None:
    await finished(light_gateway, control, "first", "a.png", "b.png")
    assert "say which output of first is meant: a.png, b.png" in refusal(await from_job(light_gateway, "first"))[3]
    assert "first made no c.png" in refusal(await from_job(light_gateway, "first", output="c.png"))[3]
    assert (await from_job(light_gateway, "first", output="b.png")).status_code == 202


async def test_an_input_of_a_job_that_made_nothing_is_refused(light_gateway: Running, control: MemoryControl) -> None:
    await accepted(light_gateway, control, name="first")
    await light_gateway.http.post("/v1/generations/first/cancel")
    await control.released("first")
    assert refusal(await from_job(light_gateway, "first"))[3] == 'Input "image": job first is Cancelled.'


async def test_jobs_of_one_request_cannot_wait_for_one_another(light_gateway: Running) -> None:
    answer = await from_job(light_gateway, "star-2", name="star", count=2)
    assert refusal(answer)[:2] == (422, "invalid_input")
    assert '"star-2" is a job of this very request' in refusal(answer)[3]


async def test_resources_may_come_in_any_order_and_be_applied_again(
    light_gateway: Running, control: MemoryControl
) -> None:
    inputs = [{"name": "image", "from": {"job": "first"}}]
    second = resource("second", function="image-to-image", inputs=inputs)

    async def put(name: str, document: dict[str, object]) -> tuple[int, str]:
        answer = await light_gateway.http.put(f"/v1/resources/GenerationJob/{name}", json=document)
        return answer.status_code, answer.json().get("outcome") or answer.text

    assert await put("second", second) == (201, "created")
    await finished(light_gateway, control, "first", "image.png")
    third = resource("third", function="image-to-image", inputs=inputs)
    assert await put("third", third) == (201, "created")
    await control.has("third")
    assert control.job("third").spec.inputs[0].uri == control.job("first").status.outputs[0].uri
    assert await put("second", second) == (200, "unchanged")
    assert await put("third", third) == (200, "unchanged")
    other = resource("third", function="image-to-image", inputs=[{"name": "image", "from": {"job": "second"}}])
    assert (await put("third", other))[0] == 409


async def test_retry_runs_the_plan_of_the_first_and_not_what_became_ready_since(
    light_gateway: Running, control: MemoryControl
) -> None:
    job = await accepted(light_gateway, control)
    plan = control.job(job).status.plan
    assert plan is not None
    failure = Failure(fault=Fault.PLATFORM, reason=Reason.PLATFORM_FAILED, message="The disk is full.")
    await control.fail(job, failure)
    await control.released(job)
    earlier = echo_runner("another")
    control.offer(earlier, echo_runner())
    await eventually(lambda: len(light_gateway.context.catalogue.runners) == 2, "the other runner")

    again = (await light_gateway.http.post(f"/v1/generations/{job}/retry")).json()["job_id"]
    await control.has(again)
    spec, second = control.job(again).spec, control.job(again).status.plan
    assert second is not None
    assert (spec.runner, spec.params, second.digest) == ("echo", plan.params, plan.digest)

    control.offer(earlier)
    await eventually(lambda: len(light_gateway.context.catalogue.runners) == 1, "the runner to go")
    gone = await light_gateway.http.post(f"/v1/generations/{job}/retry")
    assert (gone.status_code, gone.json()["error"]["code"]) == (422, "unknown_runner")
    assert f'{job} ran on the runner "echo", which is not registered any more' in gone.json()["error"]["message"]


async def test_a_seed_no_plan_can_hold_is_a_wrong_parameter(light_gateway: Running, control: MemoryControl) -> None:
    for seed in ("1e20", "1e300", "-1", "0.5"):
        answer = await light_gateway.http.post(
            "/v1/generations",
            content=f'{{"prompt": "a star", "params": {{"seed": {seed}}}}}',
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_parameter"), answer.text
    assert control.bus.commands == []
