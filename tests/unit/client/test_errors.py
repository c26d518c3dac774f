"""What a refusal becomes: an error of ours, an exit code, a sentence and what to do."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from auteur_client.errors import FinishTimeout, Refusal, Unreachable, error_of
from auteur_client.exit_codes import ExitCode
from auteur_client.failures import complaint_of, complaint_of_any, complaint_of_values
from auteur_contracts.errors import (
    HTTP_STATUS,
    AuteurError,
    Busy,
    Code,
    Conflict,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from auteur_contracts.web.http import CreateGeneration


def refusal(status: int, code: str, message: str = "No.", **details: object) -> Refusal:
    body = {
        "error": {"code": code, "message": message, "details": details},
        "request_id": "r-1",
        "timestamp": "2026-11-21T12:00:00Z",
    }
    return Refusal(status, json.dumps(body).encode(), "http://x/y")


def test_an_error_reply_keeps_code_details_and_request() -> None:
    error = error_of(refusal(422, "invalid_parameter", "steps is too large", field="params.steps"))

    assert type(error) is InvalidRequest
    assert (error.code, error.message) == (Code.INVALID_PARAMETER, "steps is too large")
    assert (error.details, error.request_id) == ({"field": "params.steps"}, "r-1")


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (410, NotFound), (409, Conflict), (429, Busy), (503, Unavailable)]
)
def test_each_status_has_its_class(status: int, kind: type[AuteurError]) -> None:
    code = next(code for code, its_status in HTTP_STATUS.items() if its_status == status)
    assert type(error_of(refusal(status, code))) is kind


def test_a_code_of_a_newer_server_is_read_by_its_status() -> None:
    assert error_of(refusal(404, "moon_missing", "no moon")).code is Code.NOT_FOUND


def test_an_answer_of_something_else_says_so() -> None:
    error = error_of(Refusal(502, b"<html>Bad Gateway</html>", "http://x/y", "r-2"))

    assert type(error) is Unavailable
    assert error.message == (
        "http://x/y answered 502 Bad Gateway, not in Auteur's form: is this the address of an Auteur server?"
    )
    assert error.request_id == "r-2"


EXITS = {
    **dict.fromkeys(Code, ExitCode.REFUSED),
    Code.NOT_FOUND: ExitCode.NOT_FOUND,
    Code.GONE: ExitCode.NOT_FOUND,
    Code.UNAVAILABLE: ExitCode.UNREACHABLE,
    Code.CATALOGUE_EMPTY: ExitCode.UNREACHABLE,
    Code.INTERNAL: ExitCode.UNREACHABLE,
}


@pytest.mark.parametrize(("code", "exit_code"), EXITS.items())
def test_every_code_has_an_exit_code(code: Code, exit_code: ExitCode) -> None:
    assert complaint_of(AuteurError("No.", code=code)).exit is exit_code


def test_a_server_that_is_away_and_a_wait_that_is_over_say_what_to_do() -> None:
    away = complaint_of(Unreachable("nothing answers at http://x"))
    over = complaint_of(FinishTimeout("a did not finish within 3 s"))

    assert (away.exit, away.hint) == (ExitCode.UNREACHABLE, "is it running? start it with: auteur up")
    assert (over.exit, over.hint) == (ExitCode.TIMEOUT, "the job goes on; look again: auteur watch NAME")


def test_the_servers_own_hint_comes_first() -> None:
    assert complaint_of(NotFound("no job x", hint="did you mean y?")).hint == "did you mean y?"


def test_an_inner_error_names_the_request_to_look_for() -> None:
    error = error_of(refusal(500, "internal", "Something broke."))
    assert complaint_of(error).error == "Something broke. (request r-1)"


def test_what_led_to_an_error_is_told_with_it_and_when_to_come_back() -> None:
    sent = refusal(503, "unavailable", "The database does not take writes.", cause="database or disk is full")
    told = complaint_of(error_of(replace(sent, retry_after=2.0)))
    assert told.error == "The database does not take writes. (cause: database or disk is full) (request r-1)"
    assert told.hint == "a part of the platform is away; try again in a moment: auteur status (it says: in 2 s)"


def test_a_wrong_value_is_named_by_its_field() -> None:
    with pytest.raises(ValidationError) as wrong:
        CreateGeneration.model_validate({"name": "Not A Name", "count": 0})
    with pytest.raises(ValidationError) as unknown:
        CreateGeneration.model_validate({"promt": "x"})

    told = complaint_of_values(wrong.value)
    assert told.exit is ExitCode.REFUSED
    assert told.error.startswith("name string should match pattern")
    assert told.error.endswith("(and 1 more)")
    assert complaint_of_values(unknown.value, where="job.yaml").error == "job.yaml: promt is not a field here"


def test_what_nobody_foresaw_is_still_a_sentence() -> None:
    told = complaint_of_any(RuntimeError("odd"))
    assert (told.exit, told.error) == (ExitCode.UNREACHABLE, "unexpected RuntimeError: odd")
