"""Where the program `auteur` begins. It can be imported without any extra, so that a missing one is a sentence."""

# ruff: noqa: PLC0415  what may be missing is imported where its absence is answered

import sys
from collections.abc import Sequence

from auteur_client.exit_codes import ExitCode


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """One command, from words to exit code."""
    try:
        from auteur_client.app import run_app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: the command line needs {error.name}\nhint: pip install 'auteur[client]'\n")
        return ExitCode.REFUSED
    return run_app(words)
