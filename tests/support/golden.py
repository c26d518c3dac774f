"""Texts to compare with: what a program said when somebody last read it and found it good."""

import os
from pathlib import Path

UPDATE = "AUTEUR_UPDATE_GOLDEN"
"""Set it to have the goldens written anew; then read the difference."""


def assert_golden(path: Path, text: str) -> None:
    """That `path` holds the text, but for blanks at the ends of lines."""
    said = "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())
    if os.environ.get(UPDATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(said, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert kept == said, f"{path.name} says something else; if that is meant, run the test with {UPDATE}=1"
