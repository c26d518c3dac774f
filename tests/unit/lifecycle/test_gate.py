"""Gate: open, waits, or can never be."""

from typing import Any

import pytest

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJob
from auteur_contracts.vocabulary import Fault, Reason
from auteur_lifecycle import status
from auteur_lifecycle.gate import Doomed, Open, Waits, gate
from auteur_lifecycle.resolve import resolve
from tests.unit.lifecycle.making import NOW, after, failure, having, job, nobody, output, report, runner, running

TWO_INPUTS = [{"name": name, "mediaType": "image/*", "required": False} for name in ("image", "mask")]


def needing(*inputs: dict[str, Any]) -> GenerationJob:
    one = job("second", inputs=list(inputs))
    plan = resolve(one, [runner(inputs=TWO_INPUTS)])
    return having(one, status.accept(one, plan, NOW))  # type: ignore[arg-type]  # refused inputs fail the test here


IMAGE = {"name": "image", "from": {"job": "first"}}
MASK = {"name": "mask", "from": {"job": "third", "output": "mask.png"}}


def finished(*outputs: str) -> GenerationJob:
    one = running()
    made = tuple(output(name) for name in outputs)
    return having(one, status.report(one, report(Outcome.SUCCEEDED, outputs=made), NOW))


def failed() -> GenerationJob:
    one = running(retries=0)
    return having(one, status.fail_attempt(one, failure(), NOW))


def cancelled() -> GenerationJob:
    one = running()
    return having(one, status.cancel(one, "ada", NOW))


def test_nothing_to_wait_for_is_open() -> None:
    assert gate(needing(), nobody, NOW) == Open()


@pytest.mark.parametrize(
    ("jobs", "decision"),
    [
        ({}, Waits(Reason.WAITING_FOR_INPUTS, "Waits for first, third.")),
        ({"first": running()}, Waits(Reason.WAITING_FOR_INPUTS, "Waits for first, third.")),
        ({"first": finished("a.png")}, Waits(Reason.WAITING_FOR_INPUTS, "Waits for third.")),
        ({"first": finished("a.png"), "third": finished("mask.png")}, Open()),
        ({"first": failed()}, Doomed('Input "image": job first is Failed.')),
        ({"first": cancelled()}, Doomed('Input "image": job first is Cancelled.')),
        ({"third": failed()}, Doomed('Input "mask": job third is Failed.')),
        (
            {"first": finished("a.png", "b.png")},
            Doomed('Input "image": say which output of first is meant: a.png, b.png.'),
        ),
        ({"first": finished()}, Doomed('Input "image": say which output of first is meant: none.')),
        ({"third": finished("image.png")}, Doomed('Input "mask": job third made no mask.png.')),
    ],
)
def test_inputs_of_other_jobs(jobs: dict[str, GenerationJob], decision: Open | Waits | Doomed) -> None:
    assert gate(needing(IMAGE, MASK), jobs.get, NOW) == decision


def test_a_suspended_job_waits_whatever_else_is_true() -> None:
    one = needing(IMAGE)
    suspended = one.model_copy(update={"spec": one.spec.model_copy(update={"suspend": True})})
    decision = gate(suspended, {"first": failed()}.get, NOW)
    assert decision == Waits(Reason.SUSPENDED, "Suspended: set spec.suspend to false to let it run.")


def test_a_retry_waits_for_its_time() -> None:
    one = running()
    again = having(one, status.fail_attempt(one, failure(Fault.PLATFORM, Reason.PLATFORM_FAILED), NOW))
    assert gate(again, nobody, NOW) == Waits(Reason.WAITING_TO_RETRY, "Attempt 1 failed, tried again soon. It broke.")
    assert gate(again, nobody, after(1)) == Open()
