"""What of an error leaves the house: its sentence, its cause where that is ours, and when to come back."""

import json

import pytest

from auteur_contracts.errors import AuteurError, Busy, Code, InvalidRequest, Unavailable
from auteur_web.errors import causes_of, details_of, error_response


def raised(error: AuteurError, cause: Exception) -> AuteurError:
    try:
        raise error from cause
    except AuteurError as found:
        return found


def test_a_cause_of_ours_is_told_and_a_librarys_is_not() -> None:
    inner = raised(Unavailable("NATS did not take the message"), OSError("10.0.0.7 refused"))
    outer = raised(Unavailable("the job was not taken"), inner)
    assert details_of(outer) == {"cause": "NATS did not take the message"}
    assert details_of(inner) == {}
    assert [str(one) for one in causes_of(outer)] == ["NATS did not take the message", "10.0.0.7 refused"]


def test_a_cause_that_was_said_already_and_one_that_goes_in_a_circle() -> None:
    error = InvalidRequest("steps is too large", field="steps")
    assert details_of(raised(error, error)) == {"field": "steps"}
    assert (
        details_of(raised(Unavailable("away", cause="the disk is full"), Busy("inner")))["cause"] == "the disk is full"
    )


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (Busy("full"), 429, "5"),
        (Unavailable("away"), 503, "2"),
        (Unavailable("none yet", code=Code.CATALOGUE_EMPTY), 503, "2"),
        (AuteurError("large", code=Code.TOO_LARGE), 413, None),
        (InvalidRequest("wrong"), 422, None),
    ],
)
def test_who_may_come_back_is_told_when(error: AuteurError, status: int, after: str | None) -> None:
    response = error_response(error, "r-1")
    assert (response.status_code, response.headers.get("retry-after")) == (status, after)
    assert json.loads(bytes(response.body))["request_id"] == "r-1"


def test_who_knows_better_when_says_so() -> None:
    error = Busy("full")
    error.retry_after = 40
    assert error_response(error, "r-1").headers["retry-after"] == "40"
