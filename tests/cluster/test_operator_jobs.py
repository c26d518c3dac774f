"""The life of a GenerationJob on a real API server, as people see it who only have kubectl."""

import json
from pathlib import Path

from auteur_contracts import names
from auteur_contracts.vocabulary import Phase
from tests.support.cluster.operators import Here, Operated, job, masked, runner
from tests.support.golden import assert_golden

DATA = Path(__file__).parents[1] / "data" / "cluster"


# ── from apply to the end ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_applied_waited_for_and_succeeded(operated: Operated, here: Here) -> None:
    here.kubectl.apply(runner("diffusion", here.name))
    here.kubectl.apply(job("alley", here.name))
    here.kubectl("wait", "gj/alley", "--for=condition=Finished", "--timeout=30s")

    found = await here.until("alley", Finished="True/OutputsCommitted", Succeeded="True/OutputsCommitted")
    assert (found.status.phase, found.status.attempt, found.status.failures) == (Phase.SUCCEEDED, 1, 0)
    assert [output.name for output in found.status.outputs] == ["image.png"]
    assert found.status.observed_generation == found.metadata.generation == 1

    made = here.kubectl.get("job", "alley-1")
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
        "GenerationJob",
        "alley",
        found.metadata.uid,
        True,
    )
    assert made["spec"]["backoffLimit"] == 0
    (pod,) = here.kubectl.get("pods", "--selector", f"{names.LABEL_JOB}=alley")["items"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "nats-secret" not in json.dumps([made, pod])
    assert "X-Amz-" not in json.dumps([made, pod])


async def test_columns(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name), job("alley", here.name), job("pier", here.name, suspend=True))
    await here.until("alley", Succeeded="True/OutputsCommitted")
    await here.until("pier", Dispatched="False/Suspended")
    assert_golden(DATA / "get-jobs.txt", masked(here.kubectl("get", "gj"), here.name))
    assert_golden(DATA / "get-jobs-wide.txt", masked(here.kubectl("get", "gj", "-o", "wide"), here.name))


async def test_pods_of_attempts_are_let_in_where_pods_are_restricted(operated: Operated, here: Here) -> None:
    level = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
    here.kubectl("label", "namespace", here.name, *(f"{key}={value}" for key, value in level.items()))
    await here.make(runner("diffusion", here.name), job("alley", here.name))
    await here.until("alley", Succeeded="True/OutputsCommitted")
