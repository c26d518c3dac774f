"""From when a job's wait is measured."""

from datetime import timedelta

from auteur_contracts.orders import Outcome
from auteur_contracts.resources import GenerationJobStatus
from auteur_contracts.vocabulary import Fault
from auteur_control.spans import waiting_since
from auteur_lifecycle.status import next_status, report
from tests.unit.lifecycle.making import NOW, after, asked, failure, having, running, seen
from tests.unit.lifecycle.making import report as said_of


def test_the_first_wait_begins_with_the_job() -> None:
    assert waiting_since(GenerationJobStatus(), NOW) == NOW


def test_a_job_that_gave_its_worker_up_waits_since_then() -> None:
    suspended = next_status(asked(running(), suspend=True), seen(), after(60))
    assert waiting_since(suspended, NOW) == after(60)


def test_a_retry_waits_from_the_end_of_its_pause() -> None:
    failed = report(running(), said_of(Outcome.FAILED, failure=failure(Fault.FUNCTION)), after(60))
    retrying = next_status(having(running(), failed), seen(), after(61))
    assert retrying.retry_at is not None
    assert retrying.retry_at > after(60)
    assert waiting_since(retrying, NOW - timedelta(days=1)) == retrying.retry_at
