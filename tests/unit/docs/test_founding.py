"""`docs/founding.md` keeps its word: every row, as far as no server is needed to try it."""

import subprocess
import tomllib
from collections.abc import Callable
from typing import get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from auteur_contracts import resources
from auteur_contracts.vocabulary import ApiStatus, QualityName
from auteur_contracts.web import http, socket
from auteur_gateway.database.tables import metadata
from tests.support.founding import CHECKOUT, Row, State, rows, rows_of
from tests.unit.standalone.test_env_example import OTHERS, known_variables

PRODUCT = ("libs", "services", "operator", "images", "charts", "scripts", "compose.yaml")
TRIED_ON_A_GATEWAY = {"path"}


def has_target(name: str) -> bool:
    return subprocess.run(("make", "-n", name), cwd=CHECKOUT, capture_output=True, check=False).returncode == 0


def has_variable(name: str) -> bool:
    return name in known_variables() | OTHERS


def has_field(name: str) -> bool:
    """`Model.field` of the API or of the resources; for an owner that we do not have, the field of a job's answer."""
    owner, _, field = name.partition(".")
    model = getattr(http, owner, None) or getattr(resources, owner, None) or http.GenerationReply
    assert issubclass(model, BaseModel)
    return field in model.model_fields


def has_quality(name: str) -> bool:
    try:
        TypeAdapter(QualityName).validate_python(name)
    except ValidationError:
        return False
    return True


def messages(union: object) -> set[str]:
    kinds, *_ = get_args(union)
    return {kind.model_fields["type"].default for kind in get_args(kinds)}


def has_function(name: str) -> bool:
    sources = (path for path in (CHECKOUT / "images" / "runners").glob("*/**/*.py") if "tests" not in path.parts)
    return any(f'name = "{name}"' in path.read_text() for path in sources)


def has_library(name: str) -> bool:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return any(wanted.startswith(name) for extra in extras.values() for wanted in extra)


def is_mentioned(word: str) -> bool:
    found = subprocess.run(("git", "grep", "-qF", word, "--", *PRODUCT), cwd=CHECKOUT, check=False)
    return found.returncode == 0


HAS: dict[str, Callable[[str], bool]] = {
    "make": has_target,
    "variable": has_variable,
    "table": lambda name: name in metadata.tables,
    "field": has_field,
    "status": lambda name: name in set(ApiStatus),
    "quality": has_quality,
    "client message": lambda name: name in messages(socket.ClientMessage),
    "server message": lambda name: name in messages(socket.ServerMessage),
    "function": has_function,
    "library": has_library,
    "file": lambda name: (CHECKOUT / name).is_file(),
    "folder": lambda name: (CHECKOUT / name).is_dir(),
    "word": is_mentioned,
}


def select(kind: str, state: State) -> list[Row]:
    return [row for row in rows_of(kind) if row.state is state]


def test_every_row_is_of_a_kind_that_somebody_tries() -> None:
    kinds = {row.kind for row in rows()}
    assert kinds == HAS.keys() | TRIED_ON_A_GATEWAY
    assert len(rows()) > 120
    assert len({(row.kind, row.asked) for row in rows()}) == len(rows()), "nothing is listed twice"


@pytest.mark.parametrize("row", [row for row in rows() if row.kind in HAS], ids=lambda row: f"{row.kind} {row.asked}")
def test_what_is_said_to_be_there_is_there_and_what_is_said_to_be_absent_is_absent(row: Row) -> None:
    has = HAS[row.kind]
    assert not row.present or has(row.present)
    assert not row.absent or not has(row.absent)


@pytest.mark.parametrize(
    "row", [row for row in rows_of("variable") if row.state is State.NOT_YET], ids=lambda row: row.asked
)
def test_a_variable_that_is_not_yet_is_read_nowhere(row: Row) -> None:
    assert not is_mentioned(row.asked)


@pytest.mark.parametrize(
    "row", [row for row in rows_of("make") if row.state is State.REFUSED], ids=lambda row: row.asked
)
def test_a_refused_target_says_why(row: Row) -> None:
    tried = subprocess.run(("make", row.asked, "NAME=x"), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert tried.returncode == 2
    assert tried.stderr.startswith("error: ")
    assert len(tried.stderr.splitlines()[0]) > 40
