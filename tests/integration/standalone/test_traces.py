"""One trace from a request to the picture: what a person sees in their collector when something was slow."""

import functools
import json
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.collector import Collector, collecting
from tests.support.stack import Stack
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def stack(tmp_path: Path, collector: Collector) -> Iterator[Stack]:
    found = Stack(
        tmp_path / "home",
        AUTEUR_TELEMETRY__ENDPOINT=collector.url,
        AUTEUR_TELEMETRY__EXPORT_INTERVAL="200ms",
    )
    found.add_echo()
    found.up()
    yield found
    found.end()


def submit(stack: Stack, body: Mapping[str, object], **headers: str) -> str:
    request = urllib.request.Request(  # noqa: S310  # loopback
        f"{stack.url}/v1/generations?access_token=secret",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(json.loads(answer.read())["job_id"])


def test_a_request_is_one_trace_through_every_program_and_the_phases_of_the_child(
    stack: Stack, collector: Collector
) -> None:
    stack.wait_until_ready("echo")
    body: dict[str, object] = {"function": "echo", "params": {"text": "hello", "steps": 3, "seconds": 0.3}}
    job = submit(stack, body, traceparent=f"00-{TRACE}-{CALLER}-01")
    assert stack.finished(job)["status"] == "done"
    for name in ("attempt", "POST /v1/generations", "job echo"):
        wait_for(functools.partial(collector.named, name), f"the span {name}")

    assert {span.trace_id for span in collector.spans if span.attributes.get("auteur.job.name") == job} == {TRACE}
    request = collector.named("POST /v1/generations", "gateway")
    assert request is not None
    assert (request.trace_id, request.parent_id) == (TRACE, CALLER)
    assert request.attributes["http.route"] == "/v1/generations"
    assert "secret" not in str(request.attributes), "a token in the address stays in the address"

    for name, above in {
        "publish auteur.command.v1": ["POST /v1/generations"],
        "process auteur.command.v1": ["publish auteur.command.v1", "POST /v1/generations"],
        "queued": ["publish auteur.command.v1", "POST /v1/generations"],
        "job echo": ["publish auteur.command.v1", "POST /v1/generations"],
        "attempt": ["publish auteur.command.v1", "POST /v1/generations"],
        "answer auteur.claim.v1": ["request auteur.claim.v1", "claim", "attempt"],
        "process auteur.report.v1": ["publish auteur.report.v1", "report", "attempt"],
        "claim": ["attempt"],
        "request auteur.claim.v1": ["claim", "attempt"],
        "download": ["attempt"],
        "run": ["attempt"],
        "echo": ["run", "attempt"],
        "upload": ["attempt"],
        "publish auteur.report.v1": ["report", "attempt"],
    }.items():
        span = collector.named(name)
        assert span is not None, f"{name} is missing: {[each.name for each in collector.spans]}"
        assert span.trace_id == TRACE, name
        *found, root = collector.ancestors(span)
        assert [each for each in found if each in above] == above, name
        assert root == CALLER, name
    run, phase = collector.named("run"), collector.named("echo")
    assert run is not None
    assert phase is not None
    assert run.began <= phase.began <= phase.ended <= run.ended
    assert phase.ended - phase.began >= 0.2e9, "the child's own phase, as long as it took"
    assert not [span.name for span in collector.spans if "worker.v1" in str(span.attributes)], "no spans of heartbeats"
