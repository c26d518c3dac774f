"""Apply, functions, qualities, uploads, outputs, health: what the command line and pages work with."""

import re
from pathlib import Path

import httpx

from auteur_contracts import names
from auteur_contracts.subjects import Verb
from auteur_kit.bus import Bus
from auteur_kit.store import Store
from tests.integration.gateway.conftest import Running, SettingsFactory, serving
from tests.integration.gateway.test_generations import accepted
from tests.support.memory_control import MemoryControl
from tests.support.objects import put
from tests.support.waiting import eventually


def resource(name: str = "alley", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "auteur.studio/v1alpha1",
        "kind": "GenerationJob",
        "metadata": {"name": name, "annotations": {"note": "mine"}},
        "spec": {"function": "text-to-image", "params": {"prompt": "a misty alley"}, **spec},
    }


async def test_apply_creates_changes_what_may_change_and_names_what_may_not(
    gateway: Running, control: MemoryControl
) -> None:
    async def put(document: dict[str, object]) -> httpx.Response:
        return await gateway.http.put("/v1/resources/GenerationJob/alley", json=document)

    created = await put(resource())
    assert (created.status_code, created.json()["outcome"]) == (201, "created")
    same = await put(resource())
    assert (same.status_code, same.json()["outcome"]) == (200, "unchanged")
    other = await put(resource(params={"prompt": "a star"}))
    assert other.status_code == 409
    assert other.json()["error"]["details"] == {"path": "spec.params.prompt"}
    suspended = await put(resource(suspend=True))
    assert (suspended.status_code, suspended.json()["outcome"]) == (200, "configured")
    cancelled = await put(resource(suspend=True, cancel=True))
    assert cancelled.json()["outcome"] == "configured"
    back = await put(resource(suspend=True))
    assert back.json()["error"]["details"] == {"path": "spec.cancel"}
    wanted = [Verb.SUBMIT, Verb.SUSPEND, Verb.CANCEL]
    await eventually(lambda: [verb for _, verb in control.bus.commands][:3] == wanted, "the commands in order")
    assert control.job("alley").metadata.annotations["note"] == "mine"


async def test_what_is_got_can_be_applied_again(light_gateway: Running, control: MemoryControl) -> None:
    job = await accepted(light_gateway, control, quality="draft", deadline="1m", node_id="node-1")
    written = (await light_gateway.http.get(f"/v1/generations/{job}")).json()["resource"]
    again = await light_gateway.http.put(f"/v1/resources/GenerationJob/{job}", json=written)
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    whole = (await light_gateway.http.get(f"/v1/resources/GenerationJob/{job}")).json()
    assert whole["status"]["plan"]["runner"] == "echo"
    again = await light_gateway.http.put(f"/v1/resources/GenerationJob/{job}", json=whole)
    assert again.json()["outcome"] == "unchanged", again.text


async def test_a_wrong_resource_is_named(light_gateway: Running) -> None:
    for document, field in (
        (resource(qualty="draft"), "spec.qualty"),
        (resource("other"), "metadata.name"),
        (resource(retries=99), "spec.retries"),
        (resource(queue="team-a"), "queue"),
        ({**resource(), "kind": "Pod"}, "kind"),
    ):
        answer = await light_gateway.http.put("/v1/resources/GenerationJob/alley", json=document)
        assert (answer.status_code, answer.json()["error"]["details"]["field"]) == (422, field), answer.text


async def test_a_runner_is_not_registered_over_the_api(light_gateway: Running) -> None:
    answer = await light_gateway.http.put("/v1/resources/FunctionRunner/echo", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_supported")
    assert "auteur runners add" in answer.json()["error"]["message"]
    got = await light_gateway.http.get("/v1/resources/FunctionRunner/echo")
    assert got.json()["kind"] == "FunctionRunner"


async def test_functions_and_qualities_are_listed(light_gateway: Running) -> None:
    function, second = (await light_gateway.http.get("/v1/functions")).json()["items"]
    assert second["inputs"] == [{"name": "image", "media_type": "image/*", "required": True, "description": ""}]
    assert second["outputs"] == [{"name": "image", "media_type": "image/png"}]
    assert (function["name"], function["runner"], function["ready"]) == ("text-to-image", "echo", True)
    assert [tier["quality"] for tier in function["tiers"]] == ["draft", "standard"]
    mappings = (await light_gateway.http.get("/api/quality/mappings")).json()["mappings"]
    assert [(one["quality"], one["pipeline"]) for one in mappings] == [
        ("draft", "echo-draft"),
        ("standard", "echo-standard"),
    ]


async def test_an_upload_is_an_input_and_an_output_is_a_link(
    light_gateway: Running, control: MemoryControl, store: Store, tmp_path: Path
) -> None:
    asked = {"file_name": "cat.png", "media_type": "image/png", "bytes": 7, "project": "demo"}
    answer = await light_gateway.http.post("/v1/uploads", json=asked)
    assert answer.status_code == 201
    upload = answer.json()
    async with httpx.AsyncClient() as plain:
        sent = await plain.post(
            upload["url"], data=upload["fields"], files={"file": ("cat.png", b"picture", "image/png")}
        )
        assert sent.status_code < 300, sent.text
        bucket, key = names.parse_s3_uri(upload["uri"])
        assert bucket == store.bucket
        assert key.startswith("default/demo/uploads/")
        assert await store.read(key) == b"picture"

        job = await accepted(light_gateway, control, project="demo")
        (output,) = (await control.succeed(job, "image.png")).status.outputs
        (tmp_path / "made").write_bytes(b"picture")
        await put(store, names.parse_s3_uri(output.uri)[1], tmp_path / "made", "image/png")
        await control.released(job)
        redirect = await light_gateway.http.get(f"/v1/generations/{job}/outputs/image.png?download=1")
        assert (redirect.status_code, redirect.headers["cache-control"]) == (307, "no-store")
        fetched = await plain.get(redirect.headers["location"])
        assert fetched.content == b"picture"
        assert f"{job}-image.png" in fetched.headers["content-disposition"]
    missing = await light_gateway.http.get(f"/v1/generations/{job}/outputs/film.mp4")
    assert missing.json()["error"]["message"] == f'{job} has no output "film.mp4": it has image.png'
    assert (await light_gateway.http.get(f"/v1/generations/{job}/preview")).status_code == 404
    await store.delete_prefix("default/")


async def test_health_says_what_each_part_does(light_gateway: Running, store: Store) -> None:
    reply = (await light_gateway.http.get("/health")).json()
    assert (reply["status"], reply["service"]) == ("healthy", "gateway")
    parts = ("api", "nats", "store", "database", "control_plane", "workspace")
    assert reply["checks"] == dict.fromkeys(parts, "ok")
    for path in ("/livez", "/readyz"):
        answer = await light_gateway.http.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    info = (await light_gateway.http.get("/api/v1/info")).json()
    assert (info["default_quality"], info["task_timeout_seconds"], info["queue_limit"]) == ("standard", 300.0, 100)


async def test_a_missing_store_degrades(sqlite_url: str, bus: Bus, settings_for: SettingsFactory) -> None:
    async with serving(settings_for(sqlite_url)) as gateway:  # nobody has made the bucket
        reply = await gateway.http.get("/health")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert "bucket" in reply.json()["checks"]["store"]


async def test_the_root_is_a_page_or_a_welcome(light_gateway: Running) -> None:
    welcome = await light_gateway.http.get("/", headers={"Accept": "application/json"})
    assert set(welcome.json()) == {"message", "version", "docs", "health"}
    page = await light_gateway.http.get("/", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


async def test_documents_describe_the_api(light_gateway: Running) -> None:
    for path in ("/docs", "/redoc", "/api/docs"):
        page = await light_gateway.http.get(path)
        assert page.status_code == 200
        for asset in re.findall(r'(?:src|href)="(.*?)"', page.text):
            assert (await light_gateway.http.get(asset)).status_code == 200, "they come from here, not from a CDN"
    asyncapi = (await light_gateway.http.get("/asyncapi.json")).json()
    assert {"start_generation", "cancel", "ping", "progress", "snapshot"} <= set(asyncapi["components"]["messages"])
    openapi = (await light_gateway.http.get("/openapi.json")).json()
    examples = openapi["paths"]["/v1/generations"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in examples.values():
        answer = await light_gateway.http.post("/v1/generations", json=example["value"])
        assert answer.status_code == 202, answer.text
