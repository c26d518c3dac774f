"""A copy of this checkout in which somebody added a function: one more folder in images/runners, and nothing else."""

import contextlib
import io
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.generator import __main__ as generator

CHECKOUT = Path(__file__).parents[2]
_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "auteur-runner-herald"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["auteur>=0.1,<1"]

[project.entry-points."auteur.runners"]
herald = "auteur_herald:herald"

[tool.auteur.runners.herald]
about = "Proclaims on any CPU."
warm.standard = { min = 1, max = 3 }

[tool.hatch.build.targets.wheel]
packages = ["auteur_herald"]

[dependency-groups]
test = ["pytest>=8.4"]
""",
    "requirements.lock": "# nothing but Auteur itself\n",
    "README.md": "# herald\n",
    "auteur_herald/__init__.py": '''\
"""A runner that proclaims."""

from typing import Annotated

from auteur_runner import Context, Field, Function, Media, MediaType, Runner


class Proclaim(Function):
    """The text, as a herald says it."""

    name = "proclaim"
    example = {"text": "hear, hear"}

    class Params(Function.Params):
        text: str = Field(max_length=100, description="What all shall know.")
        times: int = Field(1, ge=1, le=3)

    class Output(Function.Output):
        proclamation: Annotated[Media, MediaType("application/json")]

    def run(self, params: Params, ctx: Context) -> Output:
        said = {"text": " ".join([params.text.upper()] * params.times)}
        return self.Output(proclamation=ctx.save(said, "proclamation.json"))


herald = Runner("herald", (Proclaim,))
''',
}


def copied(folder: Path) -> Path:
    """What git knows of this checkout and what is not yet told to it, without what is made from that."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (CHECKOUT / name).is_file():  # git also lists what was deleted
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    return folder


def add_herald(checkout: Path) -> None:
    for name, text in _FILES.items():
        file = checkout / "images" / "runners" / "herald" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@dataclass(frozen=True)
class Done:
    returncode: int
    stderr: str


def generate(checkout: Path, *words: str) -> Done:
    """`scripts/generate` of this checkout, on that one."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = generator.main(words, checkout)
    return Done(code, said.getvalue())
