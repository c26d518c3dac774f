"""apply: resources out of YAML files, checked as far as that is possible here, then sent one by one."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from auteur_client.actions.session import connect
from auteur_client.exit_codes import ExitCode
from auteur_client.failures import complaint_of_values
from auteur_client.terminal import say, say_json
from auteur_contracts.errors import InvalidRequest
from auteur_contracts.model import JsonObject
from auteur_contracts.resources import FunctionRunner, GenerationJob

KINDS: dict[str, type[BaseModel]] = {"GenerationJob": GenerationJob, "FunctionRunner": FunctionRunner}
# What the server makes: a file that `get -o yaml` wrote carries it and can be applied all the same.
SERVER_MADE: dict[str, Any] = {
    "status": True,
    "metadata": {"uid", "generation", "resource_version", "creation_timestamp", "deletion_timestamp"},
}


@dataclass(frozen=True)
class Document:
    """One document of a YAML stream and where it stands."""

    where: str
    value: Any


def apply(files: Sequence[str], server: str | None, output: str) -> ExitCode:
    resources = [resource_of(document) for file in files for document in documents(file, _read(file))]
    if not resources:
        raise InvalidRequest(f"{', '.join(files)}: no resource in it")
    with connect(server) as client:
        for resource in resources:
            told = client.apply(resource)
            if output == "json":
                say_json(told.model_dump(mode="json"))
            else:
                said = f"{told.kind.lower()}/{told.name}"
                say(said if output == "name" else f"{said} {told.outcome}")
    return ExitCode.OK


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{file} is not UTF-8 text") from error


def documents(file: str, text: str) -> Iterator[Document]:
    """The documents of a stream; empty ones (a leading `---`, only comments) do not count."""
    try:
        found = [value for value in yaml.safe_load_all(text) if value is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark is not None else ""
        raise InvalidRequest(f"{file}{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
    for number, value in enumerate(found, 1):
        yield Document(file if len(found) == 1 else f"{file}, document {number}", value)


def resource_of(document: Document) -> JsonObject:
    """The JSON to send: what the person wrote, and nothing that only a server can know."""
    value = document.value
    if not isinstance(value, dict):
        raise InvalidRequest(f"{document.where}: a resource is a mapping with kind, metadata and spec")
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise InvalidRequest(f"{document.where}: kind {kind!r} is not known here; there are {', '.join(KINDS)}")
    try:
        parsed = model.model_validate({"apiVersion": "", **value})
    except ValidationError as error:
        raise InvalidRequest(complaint_of_values(error, where=document.where).error) from error
    sent: JsonObject = parsed.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=SERVER_MADE)
    return sent
