"""The pages about architecture and decisions name files that there are, and names that are in them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
_NAMED = re.compile(r"([\w./-]+\.py)(?::(\w+))?")
_PACKAGE = re.compile(r"(?:[\w-]+/)*auteur_(\w+)/")
"""`libs/control/auteur_control/claims.py` is called `control/claims.py`."""
MADE_UP = {"flip.py"}
"""The runner that add-a-function.md writes."""


def mentions(page: Path) -> Iterator[tuple[str, str]]:
    """Files, and what is said to be in them."""
    for quoted in re.findall(r"```.*?```|`[^`]+`", page.read_text(), re.DOTALL):
        for name, inside in _NAMED.findall(quoted):
            if name not in MADE_UP:
                yield name, inside


def defines(path: Path, name: str) -> bool:
    return (
        re.search(rf"^\s*((async )?def|class) {name}\b|^\s*{name}\b\s*[:=]", path.read_text(), re.MULTILINE) is not None
    )


def tracked() -> dict[str, list[Path]]:
    """Every file of the checkout in Python, by each name that a page may call it."""
    listed = subprocess.run(
        ("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found: dict[str, list[Path]] = {}
    for path in listed:
        for whole in {path, _PACKAGE.sub(r"\1/", path)}:
            parts = whole.split("/")
            for start in range(len(parts)):
                found.setdefault("/".join(parts[start:]), []).append(CHECKOUT / path)
    return found


FILES = tracked()
PAGES = sorted([*(CHECKOUT / "docs/architecture").glob("*.md"), *(CHECKOUT / "docs/decisions").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there_and_has_what_it_says(page: Path) -> None:
    missing = [name for name, _ in mentions(page) if name not in FILES]
    assert not missing
    absent = [
        f"{name}:{inside}"
        for name, inside in mentions(page)
        if inside and not any(defines(path, inside) for path in FILES[name])
    ]
    assert not absent


def test_the_pages_name_files() -> None:
    """Else the test above would look at nothing."""
    assert sum(1 for page in PAGES for _ in mentions(page)) > 150
