"""The verbs that this package adds to the `auteur` command: the stack of this machine, and its runners."""

# ruff: noqa: PLC0415  imports wait until the verb runs: other commands must not pay for them

from enum import StrEnum
from typing import Annotated

import typer

PANEL = "This machine"


class Form(StrEnum):
    TEXT = "text"
    JSON = "json"


Output = Annotated[Form, typer.Option("-o", "--output", help="json for programs.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel=PANEL)(up)
    app.command(rich_help_panel=PANEL)(down)
    app.command(rich_help_panel=PANEL)(status)
    app.command("server-logs", rich_help_panel=PANEL)(server_logs)
    app.command("exec", rich_help_panel=PANEL, context_settings={"ignore_unknown_options": True})(execute)
    runners = typer.Typer(help="Runners that live in environments of their own.", no_args_is_help=True)
    runners.command("add")(add)
    runners.command("list")(list_)
    runners.command("remove")(remove)
    app.add_typer(runners, name="runners", rich_help_panel=PANEL)


def up(
    *,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C, then stop.")] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the API; kept for the next time. Default: 8000.")
    ] = None,
    services: Annotated[
        bool, typer.Option("--services", help="NATS, the store and the engine only; run the rest with auteur exec.")
    ] = False,
) -> None:
    """Start the studio on this machine; return when it is ready.

    Exit codes: 0 it runs (also when it ran before), 2 refused (--port is taken, a server is not installed),
    5 a part does not start."""
    from auteur_standalone import actions

    raise typer.Exit(actions.up(foreground=foreground, port=port, services=services))


def down() -> None:
    """Stop the studio on this machine. Its data stays. Exit code 0, also when nothing ran."""
    from auteur_standalone import actions

    raise typer.Exit(actions.down())


def status(output: Output = Form.TEXT) -> None:
    """Show the parts of the running stack and how much disk it uses.

    Exit codes: 0 it runs and is ready, 5 it does not run or is not ready."""
    from auteur_standalone import actions

    raise typer.Exit(actions.status(as_json=output is Form.JSON))


def server_logs(
    part: Annotated[str | None, typer.Argument(metavar="[PART]", help="As in auteur status. Else all.")] = None,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="The last lines of each.")] = 100,
) -> None:
    """Show what the stack's own programs log. (What a job logs: auteur logs JOB.)"""
    from auteur_standalone import actions

    raise typer.Exit(actions.server_logs(part, follow=follow, lines=lines))


def execute(
    part: Annotated[str, typer.Argument(metavar="PART", help="gateway, engine, or a runner's name.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND …]", help="Instead of the part's own program.")
    ] = None,
) -> None:
    """Run one part of the stack in this terminal, or a command in that part's environment.

    auteur up --services, then auteur exec gateway in one terminal and auteur exec diffusion-tiny in another;
    auteur exec gateway bash for a shell with its settings."""
    import os

    from auteur_standalone import foreground, layout

    foreground.execute(layout.here(), part, command or [], os.environ)


def add(
    python: Annotated[str, typer.Argument(metavar="PYTHON", help="The interpreter of the runner's environment.")],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:CLASS]", help="Its function, seen from this folder. Else all that are installed there."
        ),
    ] = None,
    *,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Jobs it runs at once.")] = None,
) -> None:
    """Register a runner that lives in another environment; a running stack starts it at once."""
    from auteur_standalone import runner_actions

    raise typer.Exit(runner_actions.add(python, target, workers=workers))


def list_(output: Output = Form.TEXT) -> None:
    """List the registered runners."""
    from auteur_standalone import runner_actions

    raise typer.Exit(runner_actions.list_(as_json=output is Form.JSON))


def remove(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Remove a runner; a running stack stops it at once."""
    from auteur_standalone import runner_actions

    raise typer.Exit(runner_actions.remove(name))
