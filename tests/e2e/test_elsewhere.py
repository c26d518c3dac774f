"""Away from the checkout: wheels in empty environments, and a runner of 30 lines in an environment of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.ports import free_ports
from tests.support.stack import CHECKOUT

pytestmark = pytest.mark.timeout(420)
UV = Path(sys.executable).parent / "uv"
SDK_PAGE = CHECKOUT / "docs" / "architecture" / "add-a-function.md"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What it printed. Fails the test with everything it said."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--wheel", "--out-dir", out, CHECKOUT, cwd=out)
    (built,) = out.glob("auteur-*.whl")
    return built


def environment(folder: Path, *requirements: str) -> Path:
    """The bin folder of a new environment with what is asked for, in the versions of the lock."""
    run(UV, "venv", "-q", "--python", sys.executable, folder, cwd=folder.parent)
    constraints = ("-c", str(CHECKOUT / "requirements.lock"))
    run(
        UV,
        "pip",
        "install",
        "-q",
        "--python",
        folder / "bin" / "python",
        *constraints,
        *requirements,
        cwd=folder.parent,
    )
    return folder / "bin"


def test_a_runner_of_30_lines_in_its_own_environment_runs_on_a_studio_installed_from_wheels(
    wheel: Path, tmp_path: Path
) -> None:
    studio = environment(tmp_path / "studio", f"{wheel}[standalone]")
    author = tmp_path / "author"
    author.mkdir()
    theirs = environment(author / ".venv", str(wheel), "pillow")
    example = re.search(r"```python\n(.*?)```", SDK_PAGE.read_text(), re.DOTALL)
    assert example is not None
    (author / "flip.py").write_text(example.group(1))
    picture = Image.new("RGB", (8, 4), "white")
    picture.putpixel((0, 0), (255, 0, 0))
    picture.save(author / "cat.png")

    home = {"AUTEUR_HOME": str(tmp_path / "home")}
    auteur = studio / "auteur"
    run(auteur, "up", "--port", str(free_ports(1)[0]), cwd=author, **home)
    try:
        run(auteur, "runners", "add", theirs / "python", "flip:Flip", cwd=author, **home)
        run(
            auteur,
            "create",
            "flip",
            "--input",
            "image=cat.png",
            "--wait",
            "--out",
            "out",
            "--name",
            "flipped",
            cwd=author,
            **home,
        )
        (made,) = (author / "out").iterdir()
        with Image.open(made) as flipped:
            assert flipped.size == (8, 4)
            assert flipped.convert("RGB").getpixel((7, 3)) == (255, 0, 0)
        described = run(auteur, "describe", "flipped", cwd=author, **home)
        assert "flip" in described
    finally:
        run(auteur, "down", cwd=author, **home)
