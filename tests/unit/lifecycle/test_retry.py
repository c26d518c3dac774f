"""Retry: who pays for a failure."""

from datetime import timedelta

import pytest

from auteur_contracts.resources import GenerationJobSpec, GenerationJobStatus
from auteur_contracts.vocabulary import Fault, Reason
from auteur_lifecycle.retry import MAX_LOSSES, GiveUp, TryAgain, after_failure
from tests.unit.lifecycle.making import NOW, after, failure

FAILED, LOST = Reason.FUNCTION_FAILED, Reason.WORKER_LOST


@pytest.mark.parametrize(
    ("why", "fault", "reason", "before", "decision"),
    [
        ("the first retry comes after a second", Fault.FUNCTION, FAILED, (0, 0), TryAgain(after(1), 1, 0)),
        ("the second after two", Fault.PLATFORM, Reason.PLATFORM_FAILED, (1, 0), TryAgain(after(2), 2, 0)),
        ("two retries are three attempts", Fault.FUNCTION, FAILED, (2, 0), GiveUp(3, 0)),
        ("the user's fault stays the user's", Fault.USER, Reason.INVALID_REQUEST, (0, 0), GiveUp(1, 0)),
        ("a deadline would pass again", Fault.FUNCTION, Reason.DEADLINE_EXCEEDED, (0, 0), GiveUp(1, 0)),
        ("a loss is free and at once", Fault.LOST, LOST, (0, 0), TryAgain(NOW, 0, 1)),
        ("a loss does not use up retries", Fault.LOST, LOST, (2, 3), TryAgain(NOW, 2, 4)),
        ("losses are not endless", Fault.LOST, LOST, (0, MAX_LOSSES), GiveUp(0, MAX_LOSSES + 1)),
        ("a failure does not count as a loss", Fault.FUNCTION, FAILED, (0, 4), TryAgain(after(1), 1, 4)),
    ],
)
def test_budgets(why: str, fault: Fault, reason: Reason, before: tuple[int, int], decision: TryAgain | GiveUp) -> None:
    status = GenerationJobStatus(failures=before[0], losses=before[1])
    assert after_failure(GenerationJobSpec(retries=2), status, failure(fault, reason), NOW) == decision, why


def test_pauses_double_up_to_a_minute() -> None:
    spec = GenerationJobSpec(retries=10)
    pauses = []
    for failures in range(10):
        decision = after_failure(spec, GenerationJobStatus(failures=failures), failure(), NOW)
        assert isinstance(decision, TryAgain)
        pauses.append(decision.at - NOW)
    assert pauses == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8, 16, 32, 60, 60, 60, 60)]
