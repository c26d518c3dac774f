"""The studio as its users meet it: `auteur up`, then curl, sockets and the command line against real parts."""

import hashlib
import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.stack import Stack
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(180)


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def start(api: httpx.Client, **request: Any) -> str:
    reply = api.post("/v1/generations", json={"function": "echo", **request})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["job_id"])


def status(api: httpx.Client, job: str) -> dict[str, Any]:
    return dict(api.get(f"/v1/generations/{job}/status").json())


def ended(api: httpx.Client, job: str, *, seconds: float = 60) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        seen = status(api, job)
        return seen if seen["status"] in ("done", "failed", "cancelled") else None

    return wait_for(over, f"{job} to end", seconds=seconds) or {}


def test_a_job_ends_done_and_its_output_is_what_the_digest_says(api: httpx.Client) -> None:
    job = start(api, params={"text": "hello", "seed": 7})
    seen = ended(api, job)
    assert seen["status"] == "done", seen
    assert seen["progress"]["progress"] == 1.0
    (output,) = seen["outputs"]
    file = api.get(output["url"], follow_redirects=True)
    assert file.status_code == 200
    assert json.loads(file.content)["text"] == "hello"
    assert hashlib.sha256(file.content).hexdigest() == output["sha256"]


def test_an_unknown_id_is_a_helpful_404(api: httpx.Client) -> None:
    reply = api.get("/v1/generations/no-such-job")
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error["code"] == "not_found"
    assert "no-such-job" in error["message"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"function": "echo", "params": {"stepz": 3}}, "stepz"),
        ({"function": "echo", "params": {"steps": 10_001}}, "steps"),
        ({"function": "echo", "name": "../x"}, "name"),
        ({"function": "echo", "prompt": "x" * 100_000}, "prompt"),
        ({"function": "echo", "parms": {}}, "parms"),
        ({"function": "no-such-function"}, "no-such-function"),
    ],
)
def test_a_wrong_request_is_a_422_that_names_what_is_wrong(api: httpx.Client, body: dict[str, Any], names: str) -> None:
    reply = api.post("/v1/generations", json=body)
    assert reply.status_code == 422, reply.text
    assert names in json.dumps(reply.json()["error"])


def test_nan_is_refused_in_words(api: httpx.Client) -> None:
    reply = api.post(
        "/v1/generations",
        content=b'{"function": "echo", "params": {"seconds": NaN}}',
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code in (400, 422)
    assert reply.json()["error"]["message"]


def test_cancel_stops_a_500_step_job_at_its_next_step_and_the_next_job_is_undisturbed(api: httpx.Client) -> None:
    undisturbed = ended(api, start(api, params={"text": "same", "seed": 11}))
    long = start(api, params={"steps": 500, "seconds": 100})
    wait_for(lambda: status(api, long)["status"] == "running", "the long job to run")
    asked = time.monotonic()
    assert api.post(f"/v1/generations/{long}/cancel").status_code in (200, 202)
    assert ended(api, long)["status"] == "cancelled"
    after = start(api, params={"text": "same", "seed": 11})
    seen = ended(api, after)
    # The one worker was free again, had run another job and said so: the rest of the long one takes 100 s.
    assert time.monotonic() - asked < 50
    assert seen["outputs"][0]["sha256"] == undisturbed["outputs"][0]["sha256"]


def test_the_same_idempotency_key_is_one_job(api: httpx.Client) -> None:
    key, body = unique("key"), {"function": "echo", "params": {"text": "once"}}
    first = api.post("/v1/generations", json=body, headers={"Idempotency-Key": key})
    again = api.post("/v1/generations", json=body, headers={"Idempotency-Key": key})
    other = api.post("/v1/generations", json={"function": "echo"}, headers={"Idempotency-Key": key})
    assert first.json()["job_id"] == again.json()["job_id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 409


def test_retry_makes_a_new_job_with_the_same_seed_and_bytes(api: httpx.Client) -> None:
    job = start(api, params={"text": "again"})
    first = ended(api, job)
    reply = api.post(f"/v1/generations/{job}/retry")
    assert reply.status_code == 202, reply.text
    second = ended(api, reply.json()["job_id"])
    assert second["outputs"][0]["sha256"] == first["outputs"][0]["sha256"]
    assert api.get(f"/v1/generations/{reply.json()['job_id']}").json()["retry_of"] == job


def test_a_function_that_fails_says_why_and_a_user_fault_is_not_retried(api: httpx.Client) -> None:
    seen = ended(api, start(api, params={"fail": "user"}))
    assert seen["status"] == "failed"
    assert seen["error"]["reason"] == "InvalidRequest"
    assert "asked to fail" in seen["error"]["message"]


def test_a_crashed_function_is_tried_again_as_often_as_asked(api: httpx.Client) -> None:
    job = start(api, params={"fail": "crash"}, retries=1)
    assert ended(api, job)["status"] == "failed"
    assert api.get(f"/v1/generations/{job}").json()["attempt"] == 2


def test_delete_removes_the_job_and_its_files(api: httpx.Client) -> None:
    job = start(api)
    (output,) = ended(api, job)["outputs"]
    link = api.get(output["url"]).headers["location"]
    assert httpx.get(link).status_code == 200
    assert api.delete(f"/v1/generations/{job}").status_code == 204
    assert api.get(f"/v1/generations/{job}").status_code == 404
    wait_for(lambda: httpx.get(link).status_code in (403, 404), "the file to go")


def test_apply_creates_then_is_unchanged_then_names_what_is_immutable(stack: Stack, tmp_path: Path) -> None:
    name = unique("applied")
    resource = {
        "apiVersion": "auteur.studio/v1alpha1",
        "kind": "GenerationJob",
        "metadata": {"name": name},
        "spec": {"function": "echo", "params": {"text": "from a file"}},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(resource))
    assert "created" in stack.run("apply", "-f", str(file)).stdout
    assert "unchanged" in stack.run("apply", "-f", str(file)).stdout
    assert stack.run("watch", name).returncode == 0
    again = tmp_path / "again.yaml"
    again.write_text(stack.run("get", name, "-o", "yaml").stdout)
    assert "unchanged" in stack.run("apply", "-f", str(again)).stdout
    file.write_text(yaml.safe_dump({**resource, "spec": {"function": "echo", "params": {"text": "other"}}}))
    refused = stack.auteur("apply", "-f", str(file))
    assert refused.returncode == 2
    assert "spec.params.text" in refused.stderr


def test_the_command_line_corrects_a_parameter_and_exits_with_2(stack: Stack) -> None:
    refused = stack.auteur("create", "echo", "text=x", "stepz=3")
    assert refused.returncode == 2
    assert 'echo has no parameter "stepz"; did you mean "steps"' in refused.stderr


def test_outputs_are_saved_and_the_exit_code_tells_how_a_job_ended(stack: Stack, tmp_path: Path) -> None:
    created = stack.run("create", "echo", "text=saved", "--wait", "--out", str(tmp_path / "out"))
    assert created.returncode == 0
    (saved,) = (tmp_path / "out").iterdir()
    assert "saved" in saved.read_text()
    failed = stack.auteur("create", "echo", "fail=user", "--wait")
    assert failed.returncode == 1


def test_a_second_up_says_that_it_runs_already(stack: Stack) -> None:
    again = stack.run("up")
    assert stack.url in again.stdout + again.stderr
