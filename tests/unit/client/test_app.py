"""The command line as a whole."""

import pytest
import typer

from auteur_client.app import KNOWN_PARTS, needs_parts
from auteur_standalone.commands import register


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["get", "-o", "json"], False),
        (["create", "runner"], False),
        (["runner", "run", "flip.py"], True),
        (["--help"], True),
        ([], True),
        (["gett"], True),
    ],
)
def test_other_packages_are_imported_only_for_their_own_commands_and_for_help(
    words: list[str], *, needed: bool
) -> None:
    assert needs_parts(words) is needed


def test_what_is_not_installed_is_named_whole() -> None:
    app = typer.Typer()
    register(app)
    verbs = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert set(KNOWN_PARTS["standalone"].commands) == verbs | groups
