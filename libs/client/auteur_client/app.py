"""The `auteur` command: its own verbs, and those that other deployables add by the entry point group
`auteur.commands`. The one place where errors become lines and exit codes; nobody sees a traceback."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

from auteur_client.commands import change, follow, show, submit
from auteur_client.exit_codes import ExitCode

COMMAND_GROUP = "auteur.commands"
OUR_VERBS: tuple[Callable[..., None], ...] = (
    submit.apply,
    submit.create,
    show.get,
    show.describe,
    follow.watch,
    follow.logs,
    change.cancel,
    change.retry,
    change.delete,
    show.outputs,
    show.functions,
)


@dataclass(frozen=True)
class Absent:
    """Commands of a part that is known but not installed."""

    commands: tuple[str, ...]
    extra: str


KNOWN_PARTS = {
    "standalone": Absent(commands=("up", "down", "status", "server-logs", "exec", "runners"), extra="standalone"),
    "runner": Absent(commands=("runner",), extra="agent"),
}


def build_app(words: Sequence[str] = ()) -> typer.Typer:
    """With what these words need."""
    app = typer.Typer(
        name="auteur",
        help="Ask for pictures, voices, clips and films; watch them being made; keep every take.",
        epilog="Exit codes: 0 ok, 1 the job failed, 2 wrong or refused, 3 cancelled, 4 not found, "
        "5 server not reached, 6 timeout, 130 Ctrl-C.",
        add_completion=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: boxes take a tenth of a second and a third of the width
        invoke_without_command=True,
    )
    app.callback()(_root)
    for verb in OUR_VERBS:
        app.command()(verb)
    for entry in sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name):
        if needs_part(entry.name, words):
            _add(app, entry)
    return app


def needs_part(name: str, words: Sequence[str]) -> bool:
    """Our own verbs do without the parts' commands, a part's without those of the others: importing them takes time.
    All are there for help and for what nobody knows.
    """
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb in {ours.__name__ for ours in OUR_VERBS}:
        return False
    owners = [part for part, absent in KNOWN_PARTS.items() if verb in absent.commands]
    return not owners or name in owners


def run_app(words: Sequence[str]) -> int:
    """One command, from words to exit code."""
    try:
        command = typer.main.get_command(build_app(words))
        ended = command.main(args=list(words), prog_name="auteur", standalone_mode=False)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: a last flush must not fail
        return ExitCode.OK
    except Exception as error:  # the outermost loop: whatever it is, a person gets a sentence
        if os.environ.get("AUTEUR_DEBUG"):
            raise
        return _explain(error)
    return ended if isinstance(ended, int) else ExitCode.OK


def _explain(error: Exception) -> int:
    from auteur_client.failures import complaint_of_any  # noqa: PLC0415  only failures wait for its imports
    from auteur_client.terminal import complain  # noqa: PLC0415

    told = complaint_of_any(error)
    complain(told.error, told.hint)
    return told.exit


def _root(
    context: typer.Context,
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> None:
    if show_version:
        typer.echo(f"auteur {version('auteur')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    try:
        register: Callable[[typer.Typer], None] = entry.load()
    except ImportError as error:
        absent = KNOWN_PARTS.get(entry.name)
        for command in absent.commands if absent else ():
            _add_absent(app, command, absent.extra if absent else "", error.name or str(error))
    else:
        register(app)


def _add_absent(app: typer.Typer, command: str, extra: str, missing: str) -> None:
    def explain() -> None:
        from auteur_client.terminal import complain  # noqa: PLC0415

        complain(
            f'"auteur {command}" needs a part that is not installed (no module {missing})',
            f"pip install 'auteur[{extra}]'",
        )
        raise typer.Exit(ExitCode.REFUSED)

    app.command(
        command,
        help=f"(not installed: pip install 'auteur[{extra}]')",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(explain)
