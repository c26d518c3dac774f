"""The command line as a whole."""

import pytest
import typer

from auteur_client.app import KNOWN_PARTS, needs_part
from auteur_standalone.commands import register


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["get", "-o", "json"], set()),
        (["create", "runner"], set()),
        (["runner", "run", "flip.py"], {"runner"}),
        (["up"], {"standalone"}),
        (["--help"], {"runner", "standalone"}),
        ([], {"runner", "standalone"}),
        (["gett"], {"runner", "standalone"}),
    ],
)
def test_other_packages_are_imported_only_for_their_own_commands_and_for_help(
    words: list[str], needed: set[str]
) -> None:
    assert {part for part in KNOWN_PARTS if needs_part(part, words)} == needed


def test_what_is_not_installed_is_named_whole() -> None:
    app = typer.Typer()
    register(app)
    verbs = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert set(KNOWN_PARTS["standalone"].commands) == verbs | groups
