"""The life of a generation over HTTP, on SQLite and PostgreSQL."""

import json

import httpx
import pytest

from auteur_contracts import catalogue
from auteur_contracts.errors import Unavailable
from auteur_contracts.resources import Failure
from auteur_contracts.subjects import Verb
from auteur_contracts.vocabulary import Fault, Reason
from auteur_gateway.database.database import Database
from auteur_lifecycle.capabilities import ONE_MACHINE
from tests.integration.gateway.conftest import Running, SettingsFactory, serving
from tests.integration.gateway.engine import PlayedEngine, echo_runner, picture
from tests.support.waiting import eventually


async def status_of(http: httpx.AsyncClient, job: str) -> str:
    answer = await http.get(f"/v1/generations/{job}/status")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


async def created(gateway: Running, **request: object) -> str:
    answer = await gateway.http.post("/v1/generations", json={"prompt": "misty cyberpunk alley", **request})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def accepted(gateway: Running, engine: PlayedEngine, **request: object) -> str:
    job = await created(gateway, **request)
    await eventually(lambda: job in engine.jobs, "the engine to have the job")
    return job


async def test_a_prompt_is_enough_and_the_job_goes_its_way_to_done(gateway: Running, engine: PlayedEngine) -> None:
    answer = await gateway.http.post("/v1/generations", json={"prompt": "misty cyberpunk alley"})

    assert answer.status_code == 202
    body = answer.json()
    job = body["job_id"]
    assert job.startswith("alley-")
    assert answer.headers["location"] == f"/v1/generations/{job}"
    assert (body["status"], body["function"], body["quality"]) == ("queued", "text-to-image", "standard")

    await eventually(lambda: job in engine.jobs, "the engine to have the job")
    assert await status_of(gateway.http, job) == "queued"
    await engine.dispatch(job)
    await engine.progress(job, 5, 20)

    async def running() -> bool:
        reply = (await gateway.http.get(f"/v1/generations/{job}/status")).json()
        return bool(reply["status"] == "running" and reply["progress"]["progress"] == 0.25)

    await eventually(running, "the job to run")
    await engine.succeed(job, picture(engine.jobs[job]))
    await eventually(lambda: (job, Verb.RELEASE) in engine.commands, "the release after the archive")

    whole = (await gateway.http.get(f"/v1/generations/{job}")).json()
    assert whole["status"] == "done"
    assert whole["progress"]["progress"] == 1.0
    assert whole["outputs"][0]["url"] == f"/v1/generations/{job}/outputs/image.png"
    assert whole["resource"]["spec"]["params"] == {"prompt": "misty cyberpunk alley"}
    assert whole["seed"] == engine.jobs[job].status.plan.seed  # type: ignore[union-attr]


async def test_the_same_idempotency_key_starts_one_job(gateway: Running, engine: PlayedEngine) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await gateway.http.post("/v1/generations", json={"prompt": "a star"}, headers=headers)
    again = await gateway.http.post("/v1/generations", json={"prompt": "a star"}, headers=headers)
    other = await gateway.http.post("/v1/generations", json={"prompt": "a ring"}, headers=headers)

    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    await eventually(lambda: engine.commands, "the submit")
    assert [verb for _, verb in engine.commands] == [Verb.SUBMIT]


async def test_a_name_is_taken_until_its_job_is_deleted(gateway: Running, engine: PlayedEngine) -> None:
    job = await accepted(gateway, engine, name="star")
    taken = await gateway.http.post("/v1/generations", json={"prompt": "a star", "name": "star"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "name_taken")

    assert (await gateway.http.delete(f"/v1/generations/{job}")).status_code == 204
    assert (await gateway.http.get(f"/v1/generations/{job}")).status_code == 404
    await eventually(lambda: ("star", Verb.DELETE) in engine.commands, "the delete")
    assert [verb for _, verb in engine.commands] == [Verb.SUBMIT, Verb.CANCEL, Verb.DELETE]
    assert await accepted(gateway, engine, name="star") == "star"
    assert await status_of(gateway.http, "star") == "queued"


@pytest.mark.parametrize("says_requests", [True, False])
async def test_what_happens_to_a_deleted_job_is_not_taken_for_its_namesake(
    gateway: Running,
    engine: PlayedEngine,
    *,
    says_requests: bool,
) -> None:
    engine.says_requests = says_requests
    engine.attentive.clear()
    await created(gateway, name="star")
    assert (await gateway.http.delete("/v1/generations/star")).status_code == 204
    await created(gateway, name="star", quality="draft")
    engine.attentive.set()  # accepted, cancelled and deleted, then accepted again: all under one name
    submits = [("star", Verb.SUBMIT), ("star", Verb.CANCEL), ("star", Verb.DELETE), ("star", Verb.SUBMIT)]
    await eventually(lambda: engine.commands == submits, "the commands")

    async def second_is_known() -> bool:
        return bool((await gateway.http.get("/v1/generations/star")).json()["uid"] == engine.jobs["star"].metadata.uid)

    await eventually(lambda: "star" in engine.jobs, "the second job")
    await eventually(second_is_known, "the second job to be told from the first")
    assert await status_of(gateway.http, "star") == "queued"
    await engine.dispatch("star")
    await engine.succeed("star")
    await eventually(lambda: ("star", Verb.RELEASE) in engine.commands, "the archive")
    assert await status_of(gateway.http, "star") == "done"


async def test_a_refusal_under_a_name_that_was_used_before_is_heard(gateway: Running, engine: PlayedEngine) -> None:
    engine.attentive.clear()
    await created(gateway, name="star", runner="echo")
    await gateway.http.delete("/v1/generations/star")
    await created(gateway, name="star", runner="echo")
    engine.runner = echo_runner("another")
    engine.attentive.set()  # both are refused, and neither is a job that could be asked for

    async def failed() -> bool:
        return await status_of(gateway.http, "star") == "failed"

    await eventually(failed, "the refusal")
    assert [verb for _, verb in engine.commands].count(Verb.SUBMIT) == 2


async def test_a_name_that_was_used_before_is_remembered_over_a_restart(
    engine: PlayedEngine, database_url: str, settings_for: SettingsFactory
) -> None:
    engine.attentive.clear()
    async with serving(settings_for(database_url)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        await created(gateway, name="star")
        await gateway.http.delete("/v1/generations/star")
        await created(gateway, name="star")
    async with serving(settings_for(database_url)) as gateway:
        engine.attentive.set()
        await eventually(lambda: [verb for _, verb in engine.commands].count(Verb.SUBMIT) >= 2, "both submits")
        await eventually(lambda: "star" in engine.jobs, "the second job")
        await engine.succeed("star")
        await eventually(lambda: ("star", Verb.RELEASE) in engine.commands, "the archive")
        assert await status_of(gateway.http, "star") == "done"


async def test_a_namespace_has_its_own_names_and_its_own_queue(
    engine: PlayedEngine, database_url: str, settings_for: SettingsFactory
) -> None:
    document = catalogue.encode(ONE_MACHINE, [engine.runner])
    await engine.bus.put_document(catalogue.BUCKET, catalogue.key("film"), document)
    async with (
        serving(settings_for(database_url, queue_limit=1)) as here,
        serving(settings_for(database_url, queue_limit=1, namespace="film")) as there,
    ):
        for gateway in (here, there):
            await eventually(lambda one=gateway: one.context.catalogue.runners, "the catalogue")  # type: ignore[misc]
            await created(gateway, name="star")
            full = await gateway.http.post("/v1/generations", json={"prompt": "a ring", "name": "ring"})
            assert full.json()["error"]["code"] == "queue_full"


async def test_cancel_is_idempotent_and_says_by_whom(gateway: Running, engine: PlayedEngine) -> None:
    job = await accepted(gateway, engine)
    first = await gateway.http.post(f"/v1/generations/{job}/cancel")
    assert first.status_code == 202

    async def cancelled() -> bool:
        return await status_of(gateway.http, job) == "cancelled"

    await eventually(cancelled, "the job to be cancelled")
    again = await gateway.http.post(f"/v1/generations/{job}/cancel")
    assert (again.status_code, again.json()["status"], again.json()["cancelled_by"]) == (200, "cancelled", "api")


async def test_retry_is_a_new_job_with_the_seed_of_the_plan(gateway: Running, engine: PlayedEngine) -> None:
    job = await accepted(gateway, engine, node_id="node-1")
    too_early = await gateway.http.post(f"/v1/generations/{job}/retry")
    assert (too_early.status_code, too_early.json()["error"]["code"]) == (409, "not_finished")
    await engine.succeed(job)
    await eventually(lambda: (job, Verb.RELEASE) in engine.commands, "the release")

    again = (await gateway.http.post(f"/v1/generations/{job}/retry")).json()["job_id"]
    await eventually(lambda: again in engine.jobs, "the second job")
    plan = engine.jobs[job].status.plan
    assert plan is not None
    assert engine.jobs[again].spec.params["seed"] == plan.seed
    reply = (await gateway.http.get(f"/v1/generations/{again}")).json()
    assert (reply["retry_of"], reply["node_id"]) == (job, "node-1")


async def test_lists_are_filtered_and_paged(gateway: Running, engine: PlayedEngine) -> None:
    for number in range(5):
        await accepted(gateway, engine, name=f"job-{number}", project="film" if number % 2 else "demo")
    await engine.succeed("job-4")
    await eventually(lambda: ("job-4", Verb.RELEASE) in engine.commands, "the release")

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


async def test_count_makes_as_many_jobs_at_once(gateway: Running, engine: PlayedEngine) -> None:
    answer = await gateway.http.post("/v1/generations", json={"prompt": "a star", "name": "star", "count": 3})
    assert answer.json()["jobs"] == ["star-1", "star-2", "star-3"]
    await eventually(lambda: len(engine.jobs) == 3, "three jobs")


async def test_a_failure_is_told_in_the_words_of_the_api(light_gateway: Running, engine: PlayedEngine) -> None:
    job = await accepted(light_gateway, engine)
    failure = Failure(
        fault=Fault.FUNCTION,
        reason=Reason.OUT_OF_MEMORY,
        message="The model needs 24 GB.",
        remedy="Ask for draft.",
        log_tail=("loading", "killed"),
        recycle=True,
    )
    await engine.fail(job, failure)
    await eventually(lambda: (job, Verb.RELEASE) in engine.commands, "the archive")
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


async def test_a_job_that_the_engine_refuses_has_failed_with_its_reason(gateway: Running, engine: PlayedEngine) -> None:
    engine.runner = engine.runner.model_copy(
        update={"metadata": engine.runner.metadata.model_copy(update={"name": "b"})}
    )
    job = await created(gateway, runner="echo")

    async def failed() -> bool:
        return await status_of(gateway.http, job) == "failed"

    await eventually(failed, "the refusal")
    assert 'no runner "echo"' in (await gateway.http.get(f"/v1/generations/{job}")).json()["message"]


async def test_what_the_events_did_not_say_is_asked_for(gateway: Running, engine: PlayedEngine) -> None:
    engine.silent = True
    job = await accepted(gateway, engine)
    await engine.succeed(job, picture(engine.jobs[job]))

    async def done() -> bool:
        return await status_of(gateway.http, job) == "done"

    await eventually(done, "the silent job to be asked for")


async def test_the_place_in_the_queue_moves(gateway: Running, engine: PlayedEngine) -> None:
    for name in ("first", "second"):
        await accepted(gateway, engine, name=name)

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
    await engine.dispatch("first")
    await eventually(is_first, "the place to move")
    await engine.dispatch("second")
    await eventually(runs, "the job to leave the queue")


async def test_answers_too_large_for_a_message_are_asked_for_in_pieces(
    light_gateway: Running, engine: PlayedEngine
) -> None:
    for number in range(40):
        document = {
            "metadata": {"name": f"star-{number}", "annotations": {"note": "x" * 40_000}},
            "spec": {"params": {"prompt": "a star"}},
        }
        answer = await light_gateway.http.put(f"/v1/resources/GenerationJob/star-{number}", json=document)
        assert answer.status_code == 201, answer.text
    await eventually(lambda: len(engine.jobs) == 40, "the jobs")
    engine.silent = True
    for name in ("star-0", "star-39"):
        await engine.succeed(name)
    await light_gateway.context.projection.anti_entropy.on_reset()

    async def done() -> bool:
        return [await status_of(light_gateway.http, name) for name in ("star-0", "star-39")] == ["done", "done"]

    await eventually(done, "the truth to be told in pieces")


async def test_a_submit_that_got_lost_is_sent_again(gateway: Running, engine: PlayedEngine) -> None:
    engine.deaf = True
    job = await created(gateway)
    await eventually(lambda: engine.swallowed, "the command to be lost")
    engine.deaf = False

    await eventually(lambda: job in engine.jobs, "the command to be given again")


async def test_jobs_that_came_by_other_means_appear(gateway: Running, engine: PlayedEngine) -> None:
    from auteur_contracts.resources import GenerationJob, GenerationJobSpec, ObjectMeta

    job = GenerationJob(
        metadata=ObjectMeta(name="by-kubectl"), spec=GenerationJobSpec(params={"prompt": "a star"}, project="film")
    )
    await engine.accept(job)

    async def there() -> bool:
        return (await gateway.http.get("/v1/generations/by-kubectl")).status_code == 200

    await eventually(there, "the job to appear")
    await engine.succeed("by-kubectl")
    await eventually(lambda: ("by-kubectl", Verb.RELEASE) in engine.commands, "its archive")
    taken = await gateway.http.post("/v1/generations", json={"prompt": "x", "name": "by-kubectl"})
    assert taken.status_code == 409


async def test_a_row_read_just_before_it_was_archived_is_not_shown_unfinished(
    gateway: Running, engine: PlayedEngine
) -> None:
    job = await accepted(gateway, engine)
    before = await gateway.context.database.jobs.find(job)
    assert before is not None
    await engine.succeed(job, picture(engine.jobs[job]))
    await eventually(lambda: (job, Verb.RELEASE) in engine.commands, "the archive")
    await eventually(lambda: not len(gateway.context.projection.state), "the job to be let go")

    assert gateway.context.projection.seen(before).status.finished
    assert gateway.context.projection.current(before).finished


async def test_a_release_that_could_not_be_written_is_written_later(
    light_gateway: Running, engine: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await accepted(light_gateway, engine)
    await engine.succeed(job)
    release = (job, Verb.RELEASE)
    await eventually(lambda: release in engine.commands, "the archive")
    failed: list[object] = []

    async def broken(_database: Database, change: object, commands: object) -> None:
        failed.append((change, commands))
        raise Unavailable("the disk is full")

    projection = light_gateway.context.projection
    with monkeypatch.context() as patch:
        patch.setattr(Database, "change", broken)
        await engine.succeed(job)  # anew, as one that lost the release
        await projection.anti_entropy.on_reset()
        await eventually(lambda: failed, "the write to fail")
    await eventually(lambda: engine.commands.count(release) == 2, "the release to be told again")
