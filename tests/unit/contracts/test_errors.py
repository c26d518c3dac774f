"""Errors on the wire: a status for every code."""

import pytest

from auteur_contracts.errors import (
    HTTP_STATUS,
    AuteurError,
    Busy,
    Code,
    Conflict,
    ErrorBody,
    InvalidRequest,
    NotFound,
    Unavailable,
)


@pytest.mark.parametrize("code", Code)
def test_every_code_has_an_http_status(code: Code) -> None:
    assert 400 <= HTTP_STATUS[code] <= 599


@pytest.mark.parametrize(
    ("kind", "status"),
    [(InvalidRequest, 422), (NotFound, 404), (Conflict, 409), (Busy, 429), (Unavailable, 503), (AuteurError, 500)],
)
def test_each_error_class_has_a_status_of_its_own(kind: type[AuteurError], status: int) -> None:
    assert kind("what happened").status == status


def test_a_code_may_be_narrower_than_its_class_and_facts_travel_as_details() -> None:
    error = InvalidRequest("no such parameter", code=Code.INVALID_PARAMETER, field="params.stepz")
    assert (error.code, error.status, error.details) == (Code.INVALID_PARAMETER, 422, {"field": "params.stepz"})
    assert str(error) == "no such parameter"


def test_a_body_is_read_back() -> None:
    body = ErrorBody(code=Code.QUEUE_FULL, message="100 jobs wait", details={"limit": 100})
    assert ErrorBody.model_validate_json(body.model_dump_json()) == body
