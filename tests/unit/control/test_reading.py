"""Stored jobs → models, whoever stored them: what is not known is kept, what cannot be read is told apart."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType, Phase, Quality, Reason
from auteur_control.kinds import JOBS
from auteur_control.reading import looked_up, read_job
from auteur_control.resources import Malformed, at_version, document_of, with_status
from auteur_control.testing import MemoryJobs

NOW = "2026-01-01T12:00:00Z"
REMEDY = "Upgrade the operator if a newer one made it; else delete it, and create it put right."


def said(kind: str, status: str = "True", **more: Any) -> dict[str, Any]:
    told = {"type": kind, "status": status, "reason": "Levitating", "message": "", "lastTransitionTime": NOW}
    return {**told, "observedGeneration": 1, **more}


PLAN = {
    "function": "echo",
    "runner": "echo",
    "pool": "echo",
    "tier": {"quality": "standard", "pipeline": "p", "vramGigabytes": 0.0, "optimizations": [], "threads": 0},
    "params": {},
    "inputs": [],
    "digest": "",
}


def raw(status: Any = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": "alley", "namespace": "film", "uid": "u-1", "resourceVersion": "7", "creationTimestamp": NOW}
    return {"metadata": meta, "spec": {"function": "echo", **spec}, "status": status or {}}


def unreadable(status: Any = None, **spec: Any) -> Malformed[GenerationJob]:
    found = read_job(raw(status, **spec))
    assert isinstance(found, Malformed)
    return found


# ── what is not known ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_newer_version_wrote_is_read_and_written_as_it_is() -> None:
    failure = {"fault": "weather", "reason": "Hailed", "message": "", "remedy": "", "logTail": [], "recycle": False}
    status = {
        "conditions": [said("Checked", mood="calm"), said("Accepted"), said("Running", "False")],
        "phase": "Dreaming",
        "plan": {**PLAN, "scheduler": {"name": "tea"}},
        "failure": failure | {"station": 4},
        "mood": ["serene"],
    }
    job = read_job(raw(status, mask={"uri": "s3://m/x"}, inputs=[{"name": "image", "uri": "s3://m/k", "crop": [0]}]))
    assert isinstance(job, GenerationJob)
    written = json.loads(document_of(job))
    assert written["spec"]["mask"] == {"uri": "s3://m/x"}
    assert written["spec"]["inputs"] == [{"name": "image", "uri": "s3://m/k", "crop": [0]}]
    assert {name: written["status"][name] for name in status} == status
    assert list(job.unknown_fields()) == ["spec.mask", "spec.inputs.0.crop"]


@pytest.mark.parametrize(("value", "phase"), [("True", Phase.SUCCEEDED), ("False", Phase.FAILED)])
def test_a_finished_job_is_finished_whatever_words_say_why(value: str, phase: Phase) -> None:
    job = read_job(raw({"conditions": [said("Finished"), said("Succeeded", value)], "phase": "Running"}))
    assert isinstance(job, GenerationJob)
    assert (job.status.finished, job.status.view.phase) == (True, phase)


# ── what cannot be read ───────────────────────────────────────────────────────────────────────────────────────────────

BOTH = {"name": "image", "uri": "s3://media/film/x.png", "from": {"job": "script"}}


@pytest.mark.parametrize(
    ("wrong", "lost", "field"),
    [
        (raw(inputs=[BOTH]), {"spec.inputs"}, "spec.inputs.0"),
        (raw(deadline="soon"), {"spec.deadline"}, "spec.deadline"),
        (raw(params={"prompt": "\0"}, quality="preview"), {"spec.params", "spec.quality"}, "spec.quality"),
        (raw({"attempt": "many"}), {"status.attempt"}, "status.attempt"),
        (raw("done"), {"status"}, "status"),
        ({**raw(), "spec": [1]}, {"spec"}, "spec"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_is_read(wrong: dict[str, Any], lost: set[str], field: str) -> None:
    found = read_job(wrong)
    assert isinstance(found, Malformed)
    assert (set(found.lost), found.refusal.field, found.refusal.reason) == (lost, field, Reason.INVALID_REQUEST)
    assert found.refusal.text.endswith(f". {REMEDY}")
    meta = found.resource.metadata
    assert (found.resource.key, meta.uid, meta.resource_version) == (("film", "alley"), "u-1", "7")
    assert meta.creation_timestamp == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert found.resource.spec.function == ("text-to-image" if "spec" in lost else "echo")


def test_metadata_that_cannot_be_read_does_not_hide_whose_it_is() -> None:
    job = raw()
    job["metadata"]["labels"] = {"long": "x" * 64}
    found = read_job(job)
    assert isinstance(found, Malformed)
    assert (found.resource.metadata.uid, set(found.lost)) == ("u-1", set())


def test_a_job_is_finished_beside_a_condition_that_cannot_be_read() -> None:
    found = unreadable({"conditions": [said("Running", "Perhaps"), said("Finished"), said("Succeeded")]})
    assert (set(found.lost), found.resource.status.view.phase) == ({"status.conditions"}, Phase.SUCCEEDED)


def test_a_status_is_written_over_what_can_be_read_of_it_and_the_rest_stays() -> None:
    before = raw({"attempt": 1, "plan": {"shape": "new"}, "mood": "serene", "claim": "n"}, quality="preview", mask=1)
    stored = copy.deepcopy(before)
    found = read_job(stored)
    assert isinstance(found, Malformed)
    decided = found.resource.status.model_copy(update={"attempt": 2, "claim": "", "worker": "w"})
    written = at_version(with_status(found, decided), "8")
    assert json.loads(document_of(written)) == {
        "metadata": {**before["metadata"], "resourceVersion": "8"},
        "spec": before["spec"],
        "status": {"attempt": 2, "plan": {"shape": "new"}, "mood": "serene", "claim": "", "worker": "w"},
    }
    assert isinstance(written, Malformed)
    assert (written.resource.status, written.resource.metadata.resource_version) == (decided, "8")
    assert stored == before


def test_for_jobs_that_wait_one_that_cannot_be_read_is_there_and_has_not_ended() -> None:
    jobs = MemoryJobs(JOBS, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    jobs.leave(raw({"conditions": [said("Finished"), said("Succeeded")]}, quality="preview"))
    look = looked_up(jobs, "film")
    found = look("alley")
    assert found is not None
    assert (found.status, look("nobody")) == (GenerationJobStatus(), None)


def test_what_is_known_is_read_as_ever() -> None:
    job = read_job(raw({"conditions": [said("Accepted", reason="Resolved")]}, quality="high"))
    assert isinstance(job, GenerationJob)
    held = job.status.condition(ConditionType.ACCEPTED)
    assert held is not None
    assert (held.reason, job.spec.quality) == (Reason.RESOLVED, Quality.HIGH)
