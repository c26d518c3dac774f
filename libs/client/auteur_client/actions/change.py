"""cancel, retry, delete."""

from collections.abc import Sequence

from auteur_client.actions.session import connect, for_each
from auteur_client.exit_codes import ExitCode
from auteur_client.terminal import say
from auteur_contracts.vocabulary import ApiStatus


def cancel(names: Sequence[str], server: str | None) -> ExitCode:
    with connect(server) as client:

        def one(name: str) -> None:
            told = client.cancel(name)
            word = "cancelled" if told.status is ApiStatus.CANCELLED else "cancelling"
            say(f"generationjob/{name} {told.status if told.status.finished else word}")

        return for_each(names, one)


def retry(names: Sequence[str], server: str | None) -> ExitCode:
    with connect(server) as client:
        return for_each(names, lambda name: say(f"generationjob/{client.retry(name).job_id} created, retry of {name}"))


def delete(names: Sequence[str], server: str | None) -> ExitCode:
    with connect(server) as client:

        def one(name: str) -> None:
            client.delete(name)
            say(f"generationjob/{name} deleted")

        return for_each(names, one)
