"""cancel, retry, delete: changing what happens to jobs."""

# ruff: noqa: PLC0415  imports wait until the verb runs; the package's docstring says why

import typer

from auteur_client.commands.options import Name, Names, Server


def cancel(names: Names, server: Server = None) -> None:
    """Stop jobs.

    Waiting ones at once, running ones at their next step."""
    from auteur_client.actions import change

    raise typer.Exit(change.cancel(names, server))


def retry(name: Name, server: Server = None) -> None:
    """Run a finished job again, as a new one.

    With the same plan and seed: it makes the same bytes."""
    from auteur_client.actions import change

    raise typer.Exit(change.retry([name], server))


def delete(names: Names, server: Server = None) -> None:
    """Delete jobs and the files they made. Unfinished ones are cancelled first."""
    from auteur_client.actions import change

    raise typer.Exit(change.delete(names, server))
