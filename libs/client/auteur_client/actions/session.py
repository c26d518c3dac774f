"""What every command begins with: a client of the right server, and names as people type them."""

import os
from collections.abc import Callable, Iterable

import httpx

from auteur_client.client import Client
from auteur_client.exit_codes import ExitCode
from auteur_client.failures import complaint_of
from auteur_client.home import server_url
from auteur_client.retry import Patience
from auteur_client.terminal import complain
from auteur_contracts.errors import AuteurError, InvalidRequest

PATIENCE = Patience(tries=3)
"""A person is waiting: at most some ten seconds for a busy server, a third of a second for one that is not there."""


def connect(server: str | None) -> Client:
    url = server_url(server)
    try:
        return Client(url, os.environ.get("AUTEUR_TOKEN") or None, patience=PATIENCE)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidRequest(f'"{url}" is not a URL: {error}') from error


def job_name(text: str) -> str:
    """A name with or without its kind, so that `-o name` can be piped into any command."""
    kind, slash, name = text.rpartition("/")
    if slash and kind not in ("generationjob", "generationjobs", "gj", "generationjob.auteur.studio"):
        raise InvalidRequest(f'"{text}" is not the name of a job')
    return name


def for_each(names: Iterable[str], action: Callable[[str], None]) -> ExitCode:
    """Every name gets its turn; the first error decides the exit code."""
    ended = ExitCode.OK
    for name in names:
        try:
            action(job_name(name))
        except AuteurError as error:
            told = complaint_of(error)
            complain(told.error, told.hint)
            ended = ended or told.exit
    return ended
