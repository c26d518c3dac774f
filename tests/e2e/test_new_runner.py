"""From one new folder to what its function makes: bootstrap finds it, the stack starts it, the catalogue has it. The
heavy runner is not there, and nobody misses it.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.test_elsewhere import run
from tests.support import new_runner
from tests.support.ports import free_ports

pytestmark = pytest.mark.timeout(420)


def test_a_new_folder_becomes_a_function_of_the_studio(tmp_path: Path) -> None:
    checkout = new_runner.copied(tmp_path / "auteur")
    shutil.rmtree(checkout / "images" / "runners" / "diffusion")
    new_runner.add_herald(checkout)
    # As on a new machine; but uv, which scripts/bootstrap would fetch, is the one that is here.
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    run(checkout / "scripts" / "bootstrap", cwd=checkout, PATH=path)
    python = checkout / ".auteur" / "envs" / "herald" / "bin" / "python"
    assert run(python, "-m", "auteur_runner", "installed", cwd=checkout) == "herald auteur_herald:herald\n"

    run(checkout / ".venv" / "bin" / "python", "-m", "scripts.generator", cwd=checkout)
    assert "worker-diffusion-tiny" not in (checkout / "compose.yaml").read_text()
    assert "worker-herald" in (checkout / "compose.yaml").read_text()

    auteur = checkout / ".venv" / "bin" / "auteur"
    home = {"AUTEUR_HOME": str(checkout / ".auteur"), "AUTEUR_STANDALONE__DISCOVER": "true"}
    run(auteur, "up", "--port", str(free_ports(1)[0]), cwd=checkout, **home)
    try:
        functions = json.loads(run(auteur, "functions", "-o", "json", cwd=checkout, **home))
        assert [(each["name"], each["runner"]) for each in functions["items"]] == [("proclaim", "herald")]
        words = ("proclaim", "text=hear ye", "times=2", "--wait", "--out", "out")
        run(auteur, "create", *words, cwd=checkout, **home)
        (made,) = (checkout / "out").iterdir()
        assert json.loads(made.read_text()) == {"text": "HEAR YE HEAR YE"}
    finally:
        run(auteur, "down", cwd=checkout, **home)
