"""create: words and options become one request; then, if asked, the wait for its jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auteur_client.actions.follow import current, finish, show_until_finished, wait
from auteur_client.actions.session import connect
from auteur_client.arguments import (
    DEFAULT_FUNCTION,
    JobOutput,
    LocalFile,
    StoredFile,
    choose_function,
    parse_arguments,
    parse_input,
    typed_params,
    unknown_function,
)
from auteur_client.board import Board
from auteur_client.client import Client
from auteur_client.exit_codes import ExitCode
from auteur_client.terminal import say, say_json
from auteur_contracts.errors import Code, InvalidRequest, Unavailable
from auteur_contracts.model import JsonObject
from auteur_contracts.web.http import CreatedGeneration, CreateGeneration, FunctionReply


@dataclass(frozen=True)
class Submission:
    words: Sequence[str]
    options: Mapping[str, Any]
    """Fields of CreateGeneration that were given; absent is the server's default."""
    inputs: Sequence[str]
    key: str | None = None


@dataclass(frozen=True)
class FollowUp:
    """What happens after the submission."""

    watch: bool
    wait: bool
    folder: Path | None
    timeout: float | None
    output: str

    @property
    def waits(self) -> bool:
        return self.watch or self.wait or self.folder is not None


def create(submission: Submission, follow_up: FollowUp, server: str | None) -> ExitCode:
    with connect(server) as client:
        request = build_request(submission, client.functions())
        request["inputs"] = [_input(client, text, request.get("project")) for text in submission.inputs]
        created = client.create(CreateGeneration.model_validate(request), key=submission.key)
        names = created.jobs or (created.job_id,)
        if not follow_up.waits:
            _announce(created, names, follow_up.output)
            return ExitCode.OK
        board = Board(current(client, names))
        if follow_up.watch and not follow_up.output:
            board = show_until_finished(client, board, follow_up.timeout)
        else:
            board = wait(client, board, follow_up.timeout)
        ended = finish(client, board, follow_up.folder, quiet=bool(follow_up.output))
        _report(board, follow_up.output)
        return ended


def build_request(submission: Submission, catalogue: Sequence[FunctionReply]) -> JsonObject:
    """What to send, without the inputs: files are uploaded only for a request that makes sense. Pure."""
    if not catalogue:  # then no word can be told to be a function, and there is nobody to serve it
        raise Unavailable("no runner is registered yet, or none has come up", code=Code.CATALOGUE_EMPTY)
    known = [entry.name for entry in catalogue]
    words = parse_arguments(submission.words, known)
    function = words.function or DEFAULT_FUNCTION
    entry = choose_function(catalogue, function, submission.options.get("runner"))
    params = typed_params(entry, words.params) if entry else dict(words.params)
    if entry is None and words.params:
        raise unknown_function(function, known)
    for text in submission.inputs:
        parse_input(text)
    prompt = {} if words.prompt is None else {"prompt": words.prompt}
    request = {"function": function, **prompt, "params": params, **submission.options}
    CreateGeneration.model_validate(request)
    return request


def _input(client: Client, text: str, project: str | None) -> JsonObject:
    name, source = parse_input(text)
    match source:
        case StoredFile(uri):
            return {"name": name, "uri": uri}
        case JobOutput(job, output):
            return {"name": name, "job": job, "output": output}
        case LocalFile(path):
            if not path.is_file():
                raise InvalidRequest(f"--input {name}: there is no file {path}", code=Code.INVALID_INPUT)
            if not path.stat().st_size:
                raise InvalidRequest(f"--input {name}: {path} is empty", code=Code.INVALID_INPUT)
            return {"name": name, "uri": client.upload(path, project=project)}


def _announce(created: CreatedGeneration, names: Sequence[str], output: str) -> None:
    if output == "json":
        say_json(created.model_dump(mode="json"))
        return
    for name in names:
        say(f"generationjob/{name}" if output == "name" else f"generationjob/{name} created")


def _report(board: Board, output: str) -> None:
    if output == "json":
        told = [job.model_dump(mode="json") for job in board.jobs]
        say_json(told[0] if len(told) == 1 else {"items": told})
    elif output == "name":
        for job in board.jobs:
            say(f"generationjob/{job.job_id}")
