"""The command line as a whole."""

import pytest

from auteur_client.app import needs_parts


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
