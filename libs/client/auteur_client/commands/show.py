"""get, describe, outputs, functions: looking at what there is."""

# ruff: noqa: PLC0415  imports wait until the verb runs; the package's docstring says why

from pathlib import Path
from typing import Annotated

import typer

from auteur_client.commands.options import Brief, BriefOutput, Listing, ListingOutput, Name, Project, Server, SomeNames


def get(
    names: SomeNames = None,
    project: Project = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="queued, running, done, failed or cancelled.")
    ] = None,
    function: Annotated[str | None, typer.Option(metavar="FUNCTION", help="Of this function only.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most this many.")] = 50,
    output: ListingOutput = Listing.TABLE,
    server: Server = None,
) -> None:
    """List jobs, or show the named ones."""
    from auteur_client.actions import show
    from auteur_client.client import JobFilter

    wanted = JobFilter(project=project, status=show.status_named(status), function=function)
    raise typer.Exit(show.get(names or [], wanted, limit, output, server))


def describe(name: Name, server: Server = None) -> None:
    """Show everything about one job.

    What was asked, what it resolved to, what happened when, what it made and cost; if it failed, what to do."""
    from auteur_client.actions import show

    raise typer.Exit(show.describe(name, server))


def outputs(
    name: Name,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", file_okay=False, help="Save them into this folder.")
    ] = None,
    output: BriefOutput = Brief.TEXT,
    server: Server = None,
) -> None:
    """List what a job made, or save it."""
    from auteur_client.actions import show

    raise typer.Exit(show.outputs(name, save, output, server))


def functions(
    name: Annotated[str | None, typer.Argument(metavar="FUNCTION", help="Show its parameters too.")] = None,
    output: BriefOutput = Brief.TEXT,
    server: Server = None,
) -> None:
    """List the functions, or the parameters of one."""
    from auteur_client.actions import show

    raise typer.Exit(show.functions(name, output, server))
