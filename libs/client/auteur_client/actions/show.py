"""get, describe, outputs, functions: what there is."""

import hashlib
import itertools
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml

from auteur_client.actions.session import connect, job_name
from auteur_client.arguments import describe_parameters
from auteur_client.client import Client, JobFilter
from auteur_client.exit_codes import ExitCode
from auteur_client.render import (
    absolute,
    describe_lines,
    function_table,
    job_table,
    output_table,
    saved_line,
    saved_name,
)
from auteur_client.terminal import note, say, say_json, say_raw, say_table
from auteur_contracts.errors import AuteurError, InvalidRequest, NotFound
from auteur_contracts.model import STORED
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ApiStatus
from auteur_contracts.web.http import GenerationReply, OutputReply


def get(names: Sequence[str], wanted: JobFilter, limit: int, output: str, server: str | None) -> ExitCode:
    with connect(server) as client:
        if names:
            jobs = [client.get(job_name(name)) for name in names]
        else:
            jobs = list(itertools.islice(client.jobs(wanted, page_size=min(limit, 100)), limit))
        match output:
            case "json":
                single = len(names) == 1
                say_json(_json(jobs[0]) if single else {"items": [_json(job) for job in jobs]})
            case "yaml":
                say_raw("---\n".join(_yaml(job if names else client.get(job.job_id)) for job in jobs))
            case "name":
                for job in jobs:
                    say(f"generationjob/{job.job_id}")
            case _ if jobs:
                say_table(job_table(jobs, datetime.now(UTC), wide=output == "wide"))
            case _:
                note('no jobs; ask for one: auteur create "a large red star on a blue background"')
    return ExitCode.OK


def _json(job: GenerationReply) -> dict[str, object]:
    return job.model_dump(mode="json")


def _yaml(job: GenerationReply) -> str:
    if job.resource is None:
        raise NotFound(f"the resource of {job.job_id} is gone; only what the archive knows is left: -o json")
    return yaml.safe_dump(job.resource, sort_keys=False, allow_unicode=True)


def describe(name: str, server: str | None) -> ExitCode:
    with connect(server) as client:
        job = client.get(job_name(name))
        job = job.model_copy(update={"outputs": tuple(absolute(out, client.base_url) for out in job.outputs)})
        for line in describe_lines(job, _status(client, job.job_id), datetime.now(UTC)):
            say(line)
    return ExitCode.OK


def _status(client: Client, name: str) -> GenerationJobStatus | None:
    try:
        return GenerationJob.model_validate(client.resource("GenerationJob", name), context=STORED).status
    except NotFound:
        return None


def outputs(name: str, folder: Path | None, output: str, server: str | None) -> ExitCode:
    with connect(server) as client:
        job = client.get(job_name(name))
        if not job.outputs and job.status is not ApiStatus.DONE:
            raise NotFound(
                f"{job.job_id} has made nothing: it is {job.status}", hint=f"see why: auteur describe {job.job_id}"
            )
        if folder is not None:
            save_outputs(client, job, folder, quiet=output in ("json", "name"))
        if output == "json":
            say_json({"items": [out.model_dump(mode="json") for out in job.outputs]})
        elif output == "name":
            for out in job.outputs:
                say(out.name)
        elif folder is None:
            say_table(output_table([absolute(out, client.base_url) for out in job.outputs]))
    return ExitCode.OK


def save_outputs(client: Client, job: GenerationReply, folder: Path, *, quiet: bool = False) -> None:
    for out in job.outputs:
        path = folder / saved_name(job, out)
        save(client, job.job_id, out, path)
        if not quiet:
            say(saved_line(str(path), out, job))


def save(client: Client, name: str, out: OutputReply, path: Path) -> None:
    """Whole and checked, or not at all: the file appears under its name when every byte is as the job reported it."""
    part = path.with_name(f".{path.name}.part")
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            for chunk in client.read_output(name, out.name):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != out.sha256:
            raise AuteurError(f"{out.name} of {name} arrived damaged: sha256 {digest.hexdigest()}, not {out.sha256}")
        os.replace(part, path)  # noqa: PTH105  says that it overwrites
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def functions(name: str | None, output: str, server: str | None) -> ExitCode:
    with connect(server) as client:
        found = [entry for entry in client.functions() if name in (None, entry.name)]
    if name is not None and not found:
        raise NotFound(f'there is no function "{name}"', hint="see what there is: auteur functions")
    if output == "json":
        say_json({"items": [entry.model_dump(mode="json") for entry in found]})
        return ExitCode.OK
    if output == "name":
        for function in dict.fromkeys(entry.name for entry in found):
            say(function)
        return ExitCode.OK
    if not found:
        note("no runner has registered yet; auteur status says how the parts are")
        return ExitCode.OK
    say_table(function_table(found))
    if name is not None:
        for line in describe_parameters(found[0]):
            say(line)
    return ExitCode.OK


def status_named(text: str | None) -> ApiStatus | None:
    if text is None:
        return None
    try:
        return ApiStatus(text)
    except ValueError as error:
        raise InvalidRequest(f'--status "{text}" is none of {", ".join(ApiStatus)}') from error
