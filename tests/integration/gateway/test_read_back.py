"""What was accepted can be read back: by the next request, by the next process, and where a row cannot be read."""

import json
import sqlite3
from pathlib import Path

from auteur_control.resources import document_of
from tests.integration.gateway.conftest import Running, SettingsFactory, serving
from tests.integration.gateway.test_generations import accepted, status_of
from tests.integration.gateway.test_resources import resource
from tests.support.memory_control import MemoryControl
from tests.support.waiting import eventually


def labelled(count: int) -> dict[str, object]:
    labels = {f"label-{number}": "x" for number in range(count)}
    return {**resource("labelled"), "metadata": {"name": "labelled", "labels": labels}}


async def test_a_job_with_as_many_labels_as_it_may_have_is_listed_got_deleted_and_survives_a_restart(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> None:
    for life in range(2):
        async with serving(settings_for(sqlite_url)) as gateway:
            await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
            if not life:
                made = await gateway.http.put("/v1/resources/GenerationJob/labelled", json=labelled(64))
                assert made.status_code == 201, made.text
            listed = (await gateway.http.get("/v1/generations")).json()["items"]
            assert [one["job_id"] for one in listed] == ["labelled"]
            assert (await gateway.http.get("/v1/generations/labelled")).status_code == 200
    async with serving(settings_for(sqlite_url)) as gateway:
        assert (await gateway.http.delete("/v1/generations/labelled")).status_code in (200, 202, 204)


async def test_more_than_that_is_refused_with_how_many_there_may_be(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> None:
    async with serving(settings_for(sqlite_url)) as gateway:
        refused = await gateway.http.put("/v1/resources/GenerationJob/labelled", json=labelled(65))
    assert refused.status_code == 422
    assert refused.json()["error"]["message"] == "metadata.labels: there are 65 and may be 64"


async def test_a_row_that_nobody_can_read_is_shown_as_what_is_left_of_it_and_hides_no_other(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory, tmp_path: Path
) -> None:
    async with serving(settings_for(sqlite_url)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        broken = await accepted(gateway, control)
        whole = await accepted(gateway, control)
        await control.succeed(broken)
        await control.released(broken)
    with sqlite3.connect(tmp_path / "gateway.db") as database:
        newer = json.dumps({"metadata": {"name": "no name!"}, "spec": {"fromTheFuture": True}})
        changed = database.execute(
            "UPDATE jobs SET job = ?, status = ? WHERE name = ?", (newer, '{"conditions": 1}', broken)
        )
        assert changed.rowcount == 1
    database.close()
    async with serving(settings_for(sqlite_url)) as gateway:
        listed = (await gateway.http.get("/v1/generations")).json()["items"]
        assert {one["job_id"] for one in listed} == {broken, whole}
        shown = (await gateway.http.get(f"/v1/generations/{broken}")).json()
        assert shown["status"] == "failed"
        assert "cannot be read by this version" in json.dumps(shown)
        assert (await gateway.http.delete(f"/v1/generations/{broken}")).status_code in (200, 202, 204)
        listed = (await gateway.http.get("/v1/generations")).json()["items"]
        assert {one["job_id"] for one in listed} == {whole}


async def test_a_job_that_the_control_plane_cannot_read_is_not_taken_for_deleted(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> None:
    async with serving(settings_for(sqlite_url)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        job = await accepted(gateway, control)
        stored = json.loads(document_of(control.job(job)))
        control.jobs.leave({**stored, "spec": {**stored["spec"], "quality": "preview"}})
        asked = control.bus.asked
        await eventually(lambda: control.bus.asked > asked + 8, "the gateway to have asked for it")
        assert await status_of(gateway.http, job) == "queued"
        control.jobs.leave(stored)
        await control.succeed(job, "image.png")
        await control.released(job)
        assert await status_of(gateway.http, job) == "done"


async def test_a_job_with_fields_and_words_of_another_version_is_adopted_and_kept(
    control: MemoryControl, sqlite_url: str, settings_for: SettingsFactory
) -> None:
    async with serving(settings_for(sqlite_url)) as gateway:
        await eventually(lambda: gateway.context.catalogue.runners, "the catalogue")
        job = await accepted(gateway, control)
        await control.succeed(job, "image.png")
        newer = json.loads(document_of(control.job(job)).replace(job, "newer").replace('"Resolved"', '"Levitating"'))
        newer["metadata"] |= {"uid": "newer", "annotations": {}}
        newer["spec"]["mask"] = {"soft": True}
        newer["status"] |= {"phase": "Dreaming", "archivedTime": None}
        control.jobs.leave(newer)
    for _ in range(2):
        async with serving(settings_for(sqlite_url)) as gateway:
            await eventually(lambda: known(gateway, "newer"), "the gateway to have it")
            shown = (await gateway.http.get("/v1/generations/newer")).json()
            assert (shown["status"], shown["phase"], len(shown["outputs"])) == ("done", "Succeeded", 1)
            assert shown["resource"]["spec"]["mask"] == {"soft": True}


async def known(gateway: Running, job: str) -> bool:
    return (await gateway.http.get(f"/v1/generations/{job}/status")).status_code == 200
