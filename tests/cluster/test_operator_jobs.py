"""The life of a GenerationJob on a real API server, as people see it who only have kubectl."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from auteur_contracts import names, subjects
from auteur_contracts.orders import ClaimRefused, ClaimReply, ClaimRequest, Grant, Outcome, Report
from auteur_contracts.resources import GenerationJob, Output
from auteur_contracts.vocabulary import Fault, Phase, Reason
from auteur_kit.bus import Bus
from auteur_kit.clock import utc_now
from auteur_kit.store import Store
from tests.support.cluster.kwok import End, ends
from tests.support.cluster.operators import Here, Operated, job, masked, message, runner
from tests.support.golden import assert_golden
from tests.support.objects import put
from tests.support.scripted import Facts
from tests.support.waiting import eventually

DATA = Path(__file__).parents[1] / "data" / "cluster"
_REPLY: TypeAdapter[Grant | ClaimRefused] = TypeAdapter(ClaimReply)


# ── from apply to the end ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_applied_waited_for_and_succeeded(operated: Operated, here: Here) -> None:
    here.kubectl.apply(runner("diffusion", here.name))
    here.kubectl.apply(job("alley", here.name))
    here.kubectl("wait", "gj/alley", "--for=condition=Finished", "--timeout=90s")

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


async def test_a_second_apply_changes_nothing(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name))
    here.kubectl.apply(job("alley", here.name))
    before = await here.until("alley", Succeeded="True/OutputsCommitted")
    here.kubectl.apply(job("alley", here.name))
    after = await here.until("alley")
    assert after.metadata.resource_version == before.metadata.resource_version


# ── ending it early ───────────────────────────────────────────────────────────────────────────────────────────────────


async def attempts(here: Here, name: str) -> set[str]:
    """Names of the job's batch Jobs that are not about to go."""
    found = await here.list("Job", **{names.LABEL_JOB: name})
    return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}


async def hanging(here: Here, name: str = "alley", **spec: Any) -> GenerationJob:
    """Its pod runs, and never ends."""
    await here.make(runner("diffusion", here.name, end=End.HANG), job(name, here.name, **spec))
    await here.running_pod(name)
    return await here.until(name, Dispatched="True/PodCreated")


async def claimed(bus: Bus, one: GenerationJob, worker: str) -> Grant:
    """As by the agent in its pod."""
    asked = ClaimRequest(
        namespace=one.metadata.namespace,
        name=one.metadata.name,
        uid=one.metadata.uid,
        attempt=one.status.attempt,
        worker=worker,
        nonce="once",
    )
    reply = _REPLY.validate_json(await bus.request(subjects.Claim(asked.namespace), asked))
    assert isinstance(reply, Grant), reply
    return reply


async def test_cancelled_by_a_patch(operated: Operated, here: Here, facts: Facts) -> None:
    await hanging(here)
    here.kubectl("patch", "gj", "alley", "--type=merge", "-p", '{"spec": {"cancel": true}}')
    ended = await here.until("alley", Finished="True/Cancelled", Succeeded="False/Cancelled")
    assert ended.status.phase is Phase.CANCELLED
    await here.until_gone("Job", "alley-1")
    await eventually(lambda: "cancelled" in facts.of("alley"), "the fact")


async def test_cancelled_while_its_job_waits_for_kueue(operated: Operated, here: Here) -> None:
    """No pod was ever made: nothing but the Job tells that there is something to remove."""
    await here.make(runner("diffusion", here.name), job("alley", here.name, queue="team-a"))
    await here.until("alley", Running="False/WaitingForQuota")
    await here.merge("GenerationJob", "alley", {"spec": {"cancel": True}})
    await here.until("alley", Finished="True/Cancelled")
    await here.until_gone("Job", "alley-1")


async def test_suspended_and_resumed_is_a_new_attempt_that_counts_as_no_failure(
    operated: Operated, operated_bus: Bus, here: Here
) -> None:
    one = await hanging(here)
    await claimed(operated_bus, one, "alley-1-xyz")
    await here.until("alley", Running="True/Claimed")

    await here.merge("GenerationJob", "alley", {"spec": {"suspend": True}})
    paused = await here.until("alley", Dispatched="False/Suspended", Running="False/Suspended")
    assert paused.status.phase is Phase.SUSPENDED
    await here.until_gone("Job", "alley-1")

    await here.merge("FunctionRunner", "diffusion", {"spec": {"podAnnotations": ends(End.SUCCEED, message="report")}})
    await here.merge("GenerationJob", "alley", {"spec": {"suspend": False}})
    ended = await here.until("alley", Succeeded="True/OutputsCommitted")
    assert (ended.status.attempt, ended.status.failures, ended.status.losses) == (2, 0, 0)
    assert await attempts(here, "alley") == {"alley-2"}


async def test_suspended_before_its_pod_asked_for_anything(operated: Operated, here: Here) -> None:
    await hanging(here)
    await here.merge("GenerationJob", "alley", {"spec": {"suspend": True}})
    await here.until("alley", Dispatched="False/Suspended")
    await here.until_gone("Job", "alley-1")
    await here.merge("GenerationJob", "alley", {"spec": {"suspend": False}})
    again = await here.until("alley", lambda seen: seen.status.attempt == 2, Dispatched="True/PodCreated")
    assert (again.status.failures, again.status.losses) == (0, 0)


async def test_made_suspended_it_waits_without_a_pod(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name), job("alley", here.name, suspend=True, startDeadline="1s"))
    await here.until("alley", Dispatched="False/Suspended")
    assert await here.list("Job") == []
    await here.merge("GenerationJob", "alley", {"spec": {"suspend": False}})
    await here.until("alley", Succeeded="True/OutputsCommitted")


async def test_deleted_with_all_that_it_owned(operated: Operated, here: Here, facts: Facts) -> None:
    await hanging(here)
    here.kubectl("delete", "gj", "alley")
    # The garbage collector looks for new kinds of owners every 30 s, and our CRDs may be that young.
    await here.until_gone("Job", "alley-1")

    async def no_pods() -> bool:
        return not await here.list("Pod", **{names.LABEL_JOB: "alley"})

    await eventually(no_pods, "its pod to be gone")
    await eventually(lambda: "cancelled" in facts.of("alley"), "the fact")


async def test_deleted_and_made_anew_under_its_name(operated: Operated, here: Here) -> None:
    before = await hanging(here)
    await here.merge("FunctionRunner", "diffusion", {"spec": {"podAnnotations": ends(End.SUCCEED, message="report")}})
    await here.delete("GenerationJob", "alley")
    await here.make(job("alley", here.name))
    after = await here.until("alley", Succeeded="True/OutputsCommitted")
    assert after.metadata.uid != before.metadata.uid
    assert after.status.attempt == 1


async def test_a_job_of_somebody_else_with_the_attempts_name(operated: Operated, here: Here) -> None:
    container = {"name": "main", "image": "registry.invalid/x:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"suspend": True, "template": template}
    await here.make({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "alley-1"}, "spec": spec})
    await here.make(runner("diffusion", here.name), job("alley", here.name))
    held = await here.until("alley", Dispatched="False/PodRefused")
    assert "a Job named alley-1 that belongs to something else" in message(held, "Dispatched")
    await here.delete("Job", "alley-1")
    await here.until("alley", Succeeded="True/OutputsCommitted")


# ── trying again ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_failures_are_counted_and_tried_again_after_a_pause(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.FAIL), job("alley", here.name, retries=2))
    waits = await here.until("alley", Dispatched="False/WaitingToRetry")
    assert waits.status.phase is Phase.RETRYING
    ended = await here.until("alley", Finished="True/PlatformFailed")
    assert (ended.status.attempt, ended.status.failures, ended.status.losses) == (3, 3, 0)
    started = {}
    for each in await here.list("Job", **{names.LABEL_JOB: "alley"}):
        started[each["metadata"]["name"]] = datetime.fromisoformat(each["metadata"]["creationTimestamp"])
    first, second, third = (started[f"alley-{attempt}"] for attempt in (1, 2, 3))
    # 1 s and 2 s after the failure; the API server's times are whole seconds.
    assert second - first >= timedelta(seconds=1)
    assert third - second >= timedelta(seconds=2)


async def test_failed_once_and_then_succeeded(operated: Operated, here: Here, facts: Facts) -> None:
    await here.make(runner("diffusion", here.name, end=End.FAIL), job("alley", here.name))
    await here.until("alley", Dispatched="False/WaitingToRetry")
    await here.merge("FunctionRunner", "diffusion", {"spec": {"podAnnotations": ends(End.SUCCEED, message="report")}})
    ended = await here.until("alley", Succeeded="True/OutputsCommitted")
    assert (ended.status.attempt, ended.status.failures) == (2, 1)
    assert ended.status.failure is None
    await eventually(lambda: "succeeded" in facts.of("alley"), "the fact")
    assert [fact for fact in facts.of("alley") if fact in ("succeeded", "failed", "cancelled")] == ["succeeded"]


async def test_a_pod_that_vanished(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.VANISH), job("alley", here.name))
    lost = await here.until("alley", lambda seen: seen.status.losses == 1)
    assert lost.status.failure is not None
    assert (lost.status.failure.reason, lost.status.failure.fault) == (Reason.WORKER_LOST, Fault.LOST)
    await here.merge("FunctionRunner", "diffusion", {"spec": {"podAnnotations": ends(End.SUCCEED, message="report")}})
    ended = await here.until("alley", Succeeded="True/OutputsCommitted")
    assert ended.status.attempt == ended.status.losses + 1
    assert ended.status.failures == 0


async def test_a_pod_that_was_deleted_by_hand(operated: Operated, here: Here) -> None:
    await hanging(here)
    pod = await here.running_pod("alley")
    await here.delete("Pod", pod["metadata"]["name"])
    again = await here.until("alley", lambda seen: seen.status.attempt == 2, Dispatched="True/PodCreated")
    assert (again.status.failures, again.status.losses) == (0, 1)


async def test_a_job_that_was_deleted_by_hand_is_lost(operated: Operated, here: Here) -> None:
    await hanging(here)
    await here.delete("Job", "alley-1")
    again = await here.until("alley", lambda seen: seen.status.attempt == 2, Dispatched="True/PodCreated")
    assert (again.status.failures, again.status.losses) == (0, 1)


async def test_a_job_that_was_deleted_by_hand_is_judged_by_its_result(
    operated: Operated, here: Here, tmp_path: Path
) -> None:
    """The agent had put it beside the outputs before its pod and Job went."""
    one = await hanging(here)
    store = Store(operated.store)
    try:
        await _put_result(store, one, tmp_path / names.RESULT_NAME)
        await here.delete("Job", "alley-1")
        ended = await here.until("alley", Succeeded="True/OutputsCommitted")
    finally:
        store.close()
    assert (ended.status.attempt, ended.status.losses) == (1, 0)
    assert [output.name for output in ended.status.outputs] == ["image.png"]


async def _put_result(store: Store, one: GenerationJob, path: Path) -> None:
    meta, now = one.metadata, utc_now()
    prefix = str(names.AttemptPrefix(meta.namespace, one.spec.project, meta.uid, one.status.attempt))
    uri = names.s3_uri(store.bucket, f"{prefix}image.png")
    report = Report(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        attempt=one.status.attempt,
        worker="alley-1-xyz",
        token="left-out",
        outcome=Outcome.SUCCEEDED,
        outputs=(Output(name="image.png", uri=uri, media_type="image/png", sha256="0" * 64, bytes=1),),
        started_at=now,
        finished_at=now,
    )
    text = report.model_dump_json(exclude={"token"}).encode()
    await asyncio.to_thread(path.write_bytes, text)
    await put(store, f"{prefix}{names.RESULT_NAME}", path, "application/json")


async def test_a_pod_that_ended_well_and_said_nothing(operated: Operated, here: Here) -> None:
    silent = runner("diffusion", here.name)
    silent["spec"]["podAnnotations"] = ends(End.SUCCEED)
    await here.make(silent, job("alley", here.name, retries=0))
    ended = await here.until("alley", Finished="True/ResultMissing")
    assert "python -m auteur_runner agent" in message(ended, "Finished")


# ── one after another ─────────────────────────────────────────────────────────────────────────────────────────────────

FLIP = {
    "name": "image-to-image",
    "paramsSchema": {"type": "object", "properties": {"seed": {"type": "integer"}}},
    "inputs": [{"name": "image", "mediaType": "image/*"}],
}


def flipped(name: str, here: Here, source: str, **spec: Any) -> dict[str, Any]:
    made = job(name, here.name, inputs=[{"name": "image", "from": {"job": source}}], params={}, **spec)
    made["spec"]["function"] = "image-to-image"
    return made


async def test_a_job_waits_for_the_one_its_input_comes_from(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name), runner("flip", here.name, functions=[FLIP]))
    await here.make(flipped("mirror", here, "alley"))
    waits = await here.until("mirror", Dispatched="False/WaitingForInputs")
    assert message(waits, "Dispatched") == "Waits for alley."
    await here.make(job("alley", here.name))
    await here.until("mirror", Succeeded="True/OutputsCommitted")


async def test_a_failed_input_fails_the_job_and_is_named(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.FAIL), runner("flip", here.name, functions=[FLIP]))
    await here.make(flipped("mirror", here, "alley"), job("alley", here.name, retries=0))
    ended = await here.until("mirror", Finished="True/InputFailed")
    assert message(ended, "Finished") == 'Input "image": job alley is Failed.'
    assert ended.status.attempt == 0


async def test_a_finished_job_expires_but_not_while_another_needs_it(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name), runner("flip", here.name, functions=[FLIP]))
    await here.make(
        flipped("mirror", here, "alley", suspend=True, ttlSecondsAfterFinished=0),
        job("alley", here.name, ttlSecondsAfterFinished=0),
    )
    await here.until("alley", Succeeded="True/OutputsCommitted")
    await here.make(job("gone", here.name, ttlSecondsAfterFinished=0))
    await here.until_gone("GenerationJob", "gone")  # of those that were due then, all that may go have gone
    await here.until("alley", Succeeded="True/OutputsCommitted")
    await here.merge("GenerationJob", "mirror", {"spec": {"suspend": False}})
    await here.until_gone("GenerationJob", "mirror")
    await here.until_gone("GenerationJob", "alley")


# ── Kueue ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_with_a_queue_is_kueues_to_start(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name), job("alley", here.name, queue="team-a"))
    held = await here.until("alley", Dispatched="True/PodCreated", Running="False/WaitingForQuota")
    assert "queue team-a" in message(held, "Running")
    made = await here.find("Job", "alley-1")
    assert made is not None
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert await here.list("Pod", **{names.LABEL_JOB: "alley"}) == []

    await here.merge("Job", "alley-1", {"spec": {"suspend": False}})
    await here.until("alley", Succeeded="True/OutputsCommitted")


async def test_kueue_takes_a_pod_back_before_it_began_and_gives_another(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.IMAGE_PULL), job("alley", here.name, queue="team-a"))
    await here.until("alley", Running="False/WaitingForQuota")
    await here.merge("Job", "alley-1", {"spec": {"suspend": False}})
    await here.until("alley", Running="False/ImagePullFailed")
    await here.merge("Job", "alley-1", {"spec": {"suspend": True}})
    held = await here.until("alley", Running="False/WaitingForQuota")
    assert (held.status.attempt, held.status.losses) == (1, 0)
