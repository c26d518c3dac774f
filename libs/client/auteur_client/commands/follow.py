"""watch, logs: staying with a job."""

# ruff: noqa: PLC0415  imports wait until the verb runs; the package's docstring says why

from typing import Annotated

import typer

from auteur_client.commands.options import Folder, Name, Project, Server, SomeNames, Timeout


def watch(
    names: SomeNames = None,
    project: Project = None,
    timeout: Timeout = None,
    out: Folder = None,
    server: Server = None,
) -> None:
    """Show live bars until jobs have finished.

    The named ones, or all that wait or run now. The exit code says how they ended: 0 all succeeded, 1 one failed,
    3 one was cancelled."""
    from auteur_client.actions import follow

    raise typer.Exit(follow.watch(names or [], project, timeout, out, server))


def logs(
    name: Name,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Stay until the job has finished.")] = False,
    server: Server = None,
) -> None:
    """Show the lines a job wrote."""
    from auteur_client.actions import follow as following

    raise typer.Exit(following.logs(name, follow=follow, server=server))
