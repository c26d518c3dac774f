"""Answers of a newer control plane: what is in them is read, and what cannot be hides nothing else."""

import json
from typing import Any

from auteur_contracts.commands import ListedJobs


def snapshot(name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"job": {"metadata": {"name": name}, "spec": spec, "status": status or {}}, "version": 3}


def test_snapshots_are_read_whatever_fields_and_words_they_have() -> None:
    told = {"type": "Finished", "status": "True", "reason": "Levitating", "lastTransitionTime": "2026-01-01T12:00:00Z"}
    newer = snapshot("new", {"conditions": [told], "phase": "Dreaming", "mood": 1}, mask={"soft": True})
    unreadable = snapshot("odd", quality="preview")
    answer = {"items": [newer, unreadable, snapshot("plain")], "more": "plain", "unreadable": ["older"], "hint": 1}
    listed = ListedJobs.read(json.dumps(answer).encode())
    assert [each.job.metadata.name for each in listed.items] == ["new", "plain"]
    assert (listed.more, listed.unreadable) == ("plain", ("older", "odd"))
    assert listed.items[0].job.status.finished
    assert listed.items[0].job.model_dump(mode="json")["spec"]["mask"] == {"soft": True}


def test_an_answer_of_an_older_control_plane_is_read() -> None:
    assert ListedJobs.read(b'{"items": []}') == ListedJobs()
