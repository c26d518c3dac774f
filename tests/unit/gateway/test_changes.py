"""What may change about a job, and the path of what may not."""

from typing import Any

import pytest

from auteur_contracts.resources import GenerationJobSpec
from auteur_contracts.subjects import Verb
from auteur_gateway.changes import Configured, Immutable, Unchanged, compare


def spec(**fields: Any) -> GenerationJobSpec:
    return GenerationJobSpec.model_validate({"params": {"prompt": "a star", "steps": 4, "flags": [1, 2]}, **fields})


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, Unchanged()),
        ({}, {"quality": "standard"}, Unchanged()),
        ({}, {"deadline": "300s"}, Unchanged()),
        ({}, {"suspend": True}, Configured((Verb.SUSPEND,))),
        ({"suspend": True}, {}, Configured((Verb.RESUME,))),
        ({}, {"cancel": True}, Configured((Verb.CANCEL,))),
        ({"suspend": True}, {"cancel": True}, Configured((Verb.RESUME, Verb.CANCEL))),
        ({"cancel": True}, {}, Immutable("spec.cancel")),
        ({}, {"params": {"prompt": "a ring", "steps": 4, "flags": [1, 2]}}, Immutable("spec.params.prompt")),
        ({}, {"params": {"prompt": "a star", "flags": [1, 2]}}, Immutable("spec.params.steps")),
        ({}, {"params": {"prompt": "a star", "steps": 4, "flags": [1, 3]}}, Immutable("spec.params.flags[1]")),
        ({}, {"params": {"prompt": "a star", "steps": 4, "flags": [1]}}, Immutable("spec.params.flags")),
        ({}, {"params": {"prompt": "a star", "steps": True, "flags": [1, 2]}}, Immutable("spec.params.steps")),
        ({}, {"startDeadline": "2h", "suspend": True}, Immutable("spec.startDeadline")),
    ],
)
def test_only_suspend_and_cancel_change(old: dict[str, Any], new: dict[str, Any], expected: object) -> None:
    assert compare(spec(**old), spec(**new)) == expected
