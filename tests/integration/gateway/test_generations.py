"""The life of a generation over HTTP, on SQLite and PostgreSQL."""

import json
from functools import partial

import httpx
import pytest

from auteur_contracts import catalogue
from auteur_contracts.errors import Unavailable
from auteur_contracts.resources import Failure
from auteur_contracts.subjects import Verb
from auteur_contracts.vocabulary import Fault, Reason
from auteur_gateway.database.database import Database
from auteur_lifecycle.capabilities import ONE_MACHINE
from auteur_lifecycle.refusal import Refusal
from tests.integration.gateway.conftest import Running, SettingsFactory, serving
from tests.support.memory_control import MemoryControl, echo_runner
from tests.support.waiting import eventually


async def status_of(http: httpx.AsyncClient, job: str) -> str:
    answer = await http.get(f"/v1/generations/{job}/status")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


async def created(gateway: Running, **request: object) -> str:
    answer = await gateway.http.post("/v1/generations", json={"prompt": "misty cyberpunk alley", **request})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def accepted(gateway: Running, control: MemoryControl, **request: object) -> str:
    job = await created(gateway, **request)
    await control.has(job)
    return job


async def test_a_prompt_is_enough_and_the_job_goes_its_way_to_done(gateway: Running, control: MemoryControl) -> None:
    answer = await gateway.http.post("/v1/generations", json={"prompt": "misty cyberpunk alley"})

    assert answer.status_code == 202
    body = answer.json()
    job = body["job_id"]
    assert job.startswith("alley-")
    assert answer.headers["location"] == f"/v1/generations/{job}"
    assert (body["status"], body["function"], body["quality"]) == ("queued", "text-to-image", "standard")

    await control.has(job)
    assert await status_of(gateway.http, job) == "queued"
    await control.dispatch(job)
    await control.progress(job, 5, 20)

    async def running() -> bool:
        reply = (await gateway.http.get(f"/v1/generations/{job}/status")).json()
        return bool(reply["status"] == "running" and reply["progress"]["progress"] == 0.25)

    await eventually(running, "the job to run")
    await control.succeed(job, "image.png")
    await control.released(job)

    whole = (await gateway.http.get(f"/v1/generations/{job}")).json()
    assert whole["status"] == "done"
    assert whole["progress"]["progress"] == 1.0
    assert whole["outputs"][0]["url"] == f"/v1/generations/{job}/outputs/image.png"
    assert whole["resource"]["spec"]["params"] == {"prompt": "misty cyberpunk alley"}
    plan = control.job(job).status.plan
    assert plan is not None
    assert whole["seed"] == plan.seed


async def test_the_same_idempotency_key_starts_one_job(gateway: Running, control: MemoryControl) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await gateway.http.post("/v1/generations", json={"prompt": "a star"}, headers=headers)
    again = await gateway.http.post("/v1/generations", json={"prompt": "a star"}, headers=headers)
    other = await gateway.http.post("/v1/generations", json={"prompt": "a ring"}, headers=headers)

    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    await eventually(lambda: control.bus.commands, "the submit")
    assert [verb for _, verb in control.bus.commands] == [Verb.SUBMIT]


async def test_a_name_is_taken_until_its_job_is_deleted(gateway: Running, control: MemoryControl) -> None:
    job = await accepted(gateway, control, name="star")
    taken = await gateway.http.post("/v1/generations", json={"prompt": "a star", "name": "star"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "name_taken")

    assert (await gateway.http.delete(f"/v1/generations/{job}")).status_code == 204
    assert (await gateway.http.get(f"/v1/generations/{job}")).status_code == 404
    await eventually(lambda: ("star", Verb.DELETE) in control.bus.commands, "the delete")
    assert [verb for _, verb in control.bus.commands] == [Verb.SUBMIT, Verb.CANCEL, Verb.DELETE]
    assert await accepted(gateway, control, name="star") == "star"
    assert await status_of(gateway.http, "star") == "queued"


@pytest.mark.parametrize("says_requests", [True, False])
async def test_what_happens_to_a_deleted_job_is_not_taken_for_its_namesake(
    gateway: Running,
    control: MemoryControl,
    *,
    says_requests: bool,
) -> None:
    control.bus.says_requests = says_requests
    control.bus.attentive.clear()
    await created(gateway, name="star")
    assert (await gateway.http.delete("/v1/generations/star")).status_code == 204
    await created(gateway, name="star", quality="draft")
    control.bus.attentive.set()  # accepted, cancelled and deleted, then accepted again: all under one name
    submits = [("star", Verb.SUBMIT), ("star", Verb.CANCEL), ("star", Verb.DELETE), ("star", Verb.SUBMIT)]
    await eventually(lambda: control.bus.commands == submits, "the commands")

    async def second_is_known() -> bool:
        return bool((await gateway.http.get("/v1/generations/star")).json()["uid"] == control.job("star").metadata.uid)

    await control.has("star")
    await eventually(second_is_known, "the second job to be told from the first")
    assert await status_of(gateway.http, "star") == "queued"
    await control.dispatch("star")
    await control.succeed("star")
    await control.released("star")
    assert await status_of(gateway.http, "star") == "done"


async def test_a_refusal_under_a_name_that_was_used_before_is_heard(gateway: Running, control: MemoryControl) -> None:
    control.bus.attentive.clear()
    await created(gateway, name="star", runner="echo")
    await gateway.http.delete("/v1/generations/star")
    await created(gateway, name="star", runner="echo")
    control.runners.refusal = Refusal(Reason.NAMESPACE_NOT_ENABLED, "The namespace takes no jobs.")
    control.bus.attentive.set()  # both are refused, and neither is a job that could be asked for

    async def failed() -> bool:
        return await status_of(gateway.http, "star") == "failed"

    await eventually(failed, "the refusal")
    assert [verb for _, verb in control.bus.commands].count(Verb.SUBMIT) == 2


async def test_a_name_that_was_used_before_is_remembered_over_a_restart(
    control: MemoryControl, database_url: str, settings_for: SettingsFactory
) -> None:
    control.bus.attentive.clear()
    async with serving(settings_for(database_url)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        await created(gateway, name="star")
        await gateway.http.delete("/v1/generations/star")
        await created(gateway, name="star")
    async with serving(settings_for(database_url)) as gateway:
        control.bus.attentive.set()
        await eventually(lambda: [verb for _, verb in control.bus.commands].count(Verb.SUBMIT) >= 2, "both submits")
        await control.has("star")
        await control.succeed("star")
        await control.released("star")
        assert await status_of(gateway.http, "star") == "done"


async def test_a_namespace_has_its_own_names_and_its_own_queue(
    control: MemoryControl, database_url: str, settings_for: SettingsFactory
) -> None:
    document = catalogue.encode(ONE_MACHINE, [echo_runner()])
    await control.bus.put_document(catalogue.BUCKET, catalogue.key("film"), document)
    async with (
        serving(settings_for(database_url, queue_limit=1)) as here,
        serving(settings_for(database_url, queue_limit=1, namespace="film")) as there,
    ):
        for gateway in (here, there):
            await eventually(partial(getattr, gateway.context.catalogue, "runners"), "the catalogue")
            await created(gateway, name="star")
            full = await gateway.http.post("/v1/generations", json={"prompt": "a ring", "name": "ring"})
            assert full.json()["error"]["code"] == "queue_full"


async def test_cancel_is_idempotent_and_says_by_whom(gateway: Running, control: MemoryControl) -> None:
    job = await accepted(gateway, control)
    first = await gateway.http.post(f"/v1/generations/{job}/cancel")
    assert first.status_code == 202

    async def cancelled() -> bool:
        return await status_of(gateway.http, job) == "cancelled"

    await eventually(cancelled, "the job to be cancelled")
    again = await gateway.http.post(f"/v1/generations/{job}/cancel")
    assert (again.status_code, again.json()["status"], again.json()["cancelled_by"]) == (200, "cancelled", "api")


async def test_retry_is_a_new_job_with_the_seed_of_the_plan(gateway: Running, control: MemoryControl) -> None:
    job = await accepted(gateway, control, node_id="node-1")
    too_early = await gateway.http.post(f"/v1/generations/{job}/retry")
    assert (too_early.status_code, too_early.json()["error"]["code"]) == (409, "not_finished")
    await control.succeed(job)
    await control.released(job)

    again = (await gateway.http.post(f"/v1/generations/{job}/retry")).json()["job_id"]
    await control.has(again)
    plan = control.job(job).status.plan
    assert plan is not None
    assert control.job(again).spec.params["seed"] == plan.seed
    reply = (await gateway.http.get(f"/v1/generations/{again}")).json()
    assert (reply["retry_of"], reply["node_id"]) == (job, "node-1")


async def test_lists_are_filtered_and_paged(gateway: Running, control: MemoryControl) -> None:
    for number in range(5):
        await accepted(gateway, control, name=f"job-{number}", project="film" if number % 2 else "demo")
    await control.succeed("job-4")
    await control.released("job-4")

    async def listed(query: str) -> list[str]:
        reply = (await gateway.http.get(f"/v1/generations?{query}")).json()
        return [item["job_id"] for item in reply["items"]]

    assert await listed("") == ["job-4", "job-3", "job-2", "job-1", "job-0"]
    assert await listed("project=film") == ["job-3", "job-1"]
    assert await listed("status=done") == ["job-4"]
    assert await listed("status=queued&project=demo") == ["job-2", "job-0"]
    first = (await gateway.http.get("/v1/generations?limit=2")).json()
    assert await listed(f"limit=2&cursor={first['next_cursor']}") == ["job-2", "job-1"]
    assert (await gateway.http.get("/v1/generations?limit=5")).json()["next_cursor"] is None


async def test_count_makes_as_many_jobs_at_once(gateway: Running, control: MemoryControl) -> None:
    answer = await gateway.http.post("/v1/generations", json={"prompt": "a star", "name": "star", "count": 3})
    assert answer.json()["jobs"] == ["star-1", "star-2", "star-3"]
    for job in answer.json()["jobs"]:
        await control.has(job)


async def test_a_failure_is_told_in_the_words_of_the_api(light_gateway: Running, control: MemoryControl) -> None:
    job = await accepted(light_gateway, control)
    failure = Failure(
        fault=Fault.FUNCTION,
        reason=Reason.OUT_OF_MEMORY,
        message="The model needs 24 GB.",
        remedy="Ask for draft.",
        log_tail=("loading", "killed"),
        recycle=True,
    )
    await control.fail(job, failure)
    await control.released(job)
    told = {
        "fault": "function",
        "reason": "OutOfMemory",
        "message": "The model needs 24 GB.",
        "remedy": "Ask for draft.",
        "log_tail": ["loading", "killed"],
    }
    assert (await light_gateway.http.get(f"/v1/generations/{job}")).json()["error"] == told
    (task,) = await light_gateway.context.generations.snapshot("default")
    assert task.model_dump(mode="json")["error"] == told
    feed = light_gateway.context.feeds.open("default", f"{light_gateway.context.hub.epoch}-0")
    frames = await anext(feed)
    await feed.aclose()
    assert json.loads(frames[-1].text)["details"] == told


async def test_a_job_that_is_refused_later_has_failed_with_its_reason(gateway: Running, control: MemoryControl) -> None:
    control.bus.attentive.clear()
    job = await created(gateway, runner="echo")
    control.offer(echo_runner("b"))
    control.bus.attentive.set()

    async def failed() -> bool:
        return await status_of(gateway.http, job) == "failed"

    await eventually(failed, "the refusal")
    assert 'no runner "echo"' in (await gateway.http.get(f"/v1/generations/{job}")).json()["message"]


async def test_what_the_events_did_not_say_is_asked_for(gateway: Running, control: MemoryControl) -> None:
    control.bus.silent = True
    job = await accepted(gateway, control)
    await control.succeed(job, "image.png")

    async def done() -> bool:
        return await status_of(gateway.http, job) == "done"

    await eventually(done, "the silent job to be asked for")


async def test_the_place_in_the_queue_moves(gateway: Running, control: MemoryControl) -> None:
    for name in ("first", "second"):
        await accepted(gateway, control, name=name)

    async def place() -> object:
        one = (await gateway.http.get("/v1/generations/second/status")).json()["queue_position"]
        listed = (await gateway.http.get("/v1/generations?status=queued")).json()["items"][0]["queue_position"]
        return one if one == listed else None

    async def is_second() -> bool:
        return await place() == 2

    async def is_first() -> bool:
        return await place() == 1

    async def runs() -> bool:
        reply = (await gateway.http.get("/v1/generations/second")).json()
        return bool(reply["status"] == "running" and reply["queue_position"] is None)

    await eventually(is_second, "the place to be learned")
    await control.dispatch("first")
    await eventually(is_first, "the place to move")
    await control.dispatch("second")
    await eventually(runs, "the job to leave the queue")


async def test_answers_too_large_for_a_message_are_asked_for_in_pieces(
    light_gateway: Running, control: MemoryControl
) -> None:
    for number in range(40):
        document = {
            "metadata": {"name": f"star-{number}", "annotations": {"note": "x" * 40_000}},
            "spec": {"params": {"prompt": "a star"}},
        }
        answer = await light_gateway.http.put(f"/v1/resources/GenerationJob/star-{number}", json=document)
        assert answer.status_code == 201, answer.text
    for number in range(40):
        await control.has(f"star-{number}")
    control.bus.silent = True
    for name in ("star-0", "star-39"):
        await control.succeed(name)
    await light_gateway.context.projection.anti_entropy.on_reset()

    async def done() -> bool:
        return [await status_of(light_gateway.http, name) for name in ("star-0", "star-39")] == ["done", "done"]

    await eventually(done, "the truth to be told in pieces")


async def test_a_submit_that_got_lost_is_sent_again(gateway: Running, control: MemoryControl) -> None:
    control.bus.deaf = True
    job = await created(gateway)
    await eventually(lambda: control.bus.swallowed, "the command to be lost")
    control.bus.deaf = False

    await control.has(job)


async def test_jobs_that_came_by_other_means_appear(gateway: Running, control: MemoryControl) -> None:
    from auteur_contracts.resources import GenerationJob, GenerationJobSpec, ObjectMeta

    job = GenerationJob(
        metadata=ObjectMeta(name="by-kubectl"), spec=GenerationJobSpec(params={"prompt": "a star"}, project="film")
    )
    await control.create(job)

    async def there() -> bool:
        return (await gateway.http.get("/v1/generations/by-kubectl")).status_code == 200

    await eventually(there, "the job to appear")
    await control.succeed("by-kubectl")
    await control.released("by-kubectl")
    taken = await gateway.http.post("/v1/generations", json={"prompt": "x", "name": "by-kubectl"})
    assert taken.status_code == 409


async def test_a_row_read_just_before_it_was_archived_is_not_shown_unfinished(
    gateway: Running, control: MemoryControl
) -> None:
    job = await accepted(gateway, control)
    before = await gateway.context.database.jobs.find(job)
    assert before is not None
    await control.succeed(job, "image.png")
    await control.released(job)
    await eventually(lambda: not len(gateway.context.projection.state), "the job to be let go")

    assert gateway.context.projection.seen(before).status.finished
    assert gateway.context.projection.current(before).finished


async def test_a_release_that_could_not_be_written_is_written_later(
    light_gateway: Running, control: MemoryControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await accepted(light_gateway, control)
    await control.succeed(job)
    await control.released(job)
    failed: list[object] = []

    async def broken(_database: Database, change: object, commands: object) -> None:
        failed.append((change, commands))
        raise Unavailable("the disk is full")

    projection = light_gateway.context.projection
    with monkeypatch.context() as patch:
        patch.setattr(Database, "change", broken)
        await control.lose_release(job)
        await projection.anti_entropy.on_reset()
        await eventually(lambda: failed, "the write to fail")
    await control.released(job)
