"""One run of one function, from a request to an ending: the same in the child process and in an author's tests."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from auteur_contracts.quantities import MAX_OUTPUTS
from auteur_contracts.vocabulary import Reason
from auteur_runner import protocol
from auteur_runner.context import Context, Send
from auteur_runner.errors import AuthoringError, InvalidRequest, JobCancelled, failure_of, invalid_parameters
from auteur_runner.function import Function, files_of, source_line, takes_inputs
from auteur_runner.media import OUTPUT_NAMES, Input, Media, is_output_name, matches


def execute(function: Function, order: protocol.Run, send: Send, cancelled: Callable[[], bool]) -> protocol.Ending:
    """Never raises: whatever the author's code does becomes an ending."""
    began = time.monotonic()
    try:
        params = parse_params(type(function), order.params)
        inputs = parse_inputs(type(function), order.inputs)
        ctx = Context(order, send, cancelled)
        _seed_globals(ctx.seed)
        ctx.check_cancelled()
        arguments: dict[str, Any] = {"params": params, "ctx": ctx}
        if takes_inputs(type(function)):
            arguments["inputs"] = inputs
        send(protocol.Started())
        returned = function.run(**arguments)
        ctx.check_cancelled()  # after this the outputs stand
        outputs = tuple(_outputs(type(function), returned, ctx.folder))
    except JobCancelled:
        return protocol.Cancelled()
    except BaseException as error:  # noqa: BLE001 -- the outermost frame of somebody else's code
        return protocol.Failed(failure=failure_of(error))
    return protocol.Succeeded(outputs=outputs, run_seconds=round(time.monotonic() - began, 6))


def parse_params(function: type[Function], params: dict[str, Any]) -> BaseModel:
    try:
        return function.Params.model_validate(params)
    except ValidationError as error:
        raise invalid_parameters(error, function.Params.model_fields) from error


def parse_inputs(function: type[Function], paths: dict[str, str]) -> BaseModel:
    patterns = files_of(function.Inputs, Input)
    inputs: dict[str, Input] = {}
    for name, path in paths.items():
        if name not in patterns:
            known = ", ".join(patterns) or "none"
            raise InvalidRequest(f'there is no input "{name}"; it has {known}', reason=Reason.INVALID_INPUT)
        given = Input.at(Path(path))
        is_known = given.media_type != "application/octet-stream"
        if is_known and not matches(given.media_type, patterns[name]):
            message = f"{given.name} is {given.media_type}, and {patterns[name]} is needed"
            raise InvalidRequest(message, field=name, reason=Reason.INVALID_INPUT)
        inputs[name] = given
    try:
        return function.Inputs.model_validate(inputs)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidRequest("this input is needed", field=field, reason=Reason.INVALID_INPUT) from error


def _outputs(function: type[Function], returned: object, folder: Path) -> Iterator[protocol.OutputFile]:
    title = function.__qualname__
    place = source_line(function)
    if not isinstance(returned, function.Output):
        raise AuthoringError(
            f"{title}.run returned {_article(returned)}; it must return {title}.Output ({place})",
        )
    patterns = files_of(function.Output, Media)
    made = {field: tuple(_each(getattr(returned, field))) for field in patterns}
    count = sum(map(len, made.values()))
    if count > MAX_OUTPUTS:
        raise AuthoringError(f"{title}.run made {count} outputs; a job holds {MAX_OUTPUTS} ({place})")
    names: set[str] = set()
    for field, files in made.items():
        for media in files:
            _check(media, f"{title}.Output.{field}", patterns[field], folder, place)
            if media.name in names:
                raise AuthoringError(f'{title}.Output names "{media.name}" twice ({place})')
            names.add(media.name)
            yield protocol.OutputFile(
                field=field,
                file=str(media.path),
                media_type=media.media_type,
                width=media.width,
                height=media.height,
                seconds=media.seconds,
            )


def _check(media: Media, field: str, pattern: str, folder: Path, place: str) -> None:
    if media.path.resolve().parent != folder.resolve():
        raise AuthoringError(f"{field} is {media.path}, not a file in the attempt's folder; use ctx.save() ({place})")
    if not is_output_name(media.name):
        raise AuthoringError(f'{field} is called "{media.name}"; {OUTPUT_NAMES} ({place})')
    if not media.path.is_file():
        raise AuthoringError(f'{field} names "{media.name}", but run() left no such file; use ctx.save() ({place})')
    if not matches(media.media_type, pattern):
        raise AuthoringError(f'{field} is declared as {pattern}, but "{media.name}" is {media.media_type} ({place})')


def _each(value: object) -> Iterator[Media]:
    match value:
        case Media():
            yield value
        case tuple() | list():
            for item in value:
                yield from _each(item)
        case _:
            return


def _article(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _seed_globals(seed: int) -> None:
    """The libraries' global generators: what an earlier (perhaps cancelled) job drew must not change this one's bytes.

    Only of libraries the author's code has loaded already.
    """
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
