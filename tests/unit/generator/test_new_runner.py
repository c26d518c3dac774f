"""Somebody adds a function: one folder in images/runners, then `scripts/generate`. Everything that has to know of a
runner knows of it, and no list was edited.
"""

import filecmp
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from auteur_contracts.resources import FunctionRunner, TierDeclaration
from tests.support import new_runner
from tests.support.cluster import ours
from tests.unit.images.dockerfiles import copied, instructions


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = new_runner.copied(tmp_path_factory.mktemp("checkout"))
    new_runner.add_herald(made)
    done = new_runner.generate(made)
    assert done.returncode == 0, done.stderr
    return made


def read(checkout: Path, file: str) -> dict[str, Any]:
    found = yaml.safe_load((checkout / file).read_text())
    assert isinstance(found, dict)
    return found


def shell(checkout: Path, script: str) -> str:
    words = ("bash", "-euc", f". scripts/lib.sh; {script}")
    return subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=True).stdout


def described(checkout: Path) -> FunctionRunner:
    folder = checkout / "images" / "runners" / "herald"
    words = (sys.executable, "-m", "auteur_runner", "describe", "auteur_herald:herald")
    said = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout
    return FunctionRunner.model_validate_json(said)


def test_nothing_is_written_by_hand(checkout: Path) -> None:
    """What differs from this checkout is the folder, and files that say they are written by the script."""
    listed = (path for path in checkout.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = {path.relative_to(checkout).as_posix(): path for path in listed}
    before = {name: new_runner.CHECKOUT / name for name in files}
    changed = {
        name
        for name, path in files.items()
        if not before[name].is_file() or not filecmp.cmp(path, before[name], shallow=False)
    }
    written = {name for name in changed if not name.startswith("images/runners/herald/")}
    assert written == {
        *("compose.yaml", "skaffold.yaml", "docs/functions/README.md", "docs/functions/proclaim.md"),
        *("charts/auteur-runners/values.yaml", "charts/auteur-runners/files/herald.yaml"),
    }
    for name in written:
        head = files[name].read_text()[:1000].replace("#", "")
        assert "written by scripts/generate" in " ".join(head.lower().split()), name
    assert new_runner.generate(checkout, "--check").returncode == 0


def test_bootstrap_build_and_test_find_its_folder(checkout: Path) -> None:
    assert shell(checkout, "runner_folders").split() == ["images/runners/diffusion", "images/runners/herald"]
    for program in ("bootstrap", "build", "test", "build-images"):
        assert "$(runner_folders)" in (checkout / "scripts" / program).read_text(), program


def test_its_image_is_built_by_the_dockerfile_of_all_runners(checkout: Path) -> None:
    recipe = ours.recipes(checkout)["runner-herald"]
    assert recipe.arguments == {"FOLDER": "images/runners/herald", "RUNNER": "herald"}
    assert recipe.dockerfile == checkout / "images" / "runners" / "Dockerfile"
    taken = copied(recipe.dockerfile, recipe.arguments)
    assert "images/runners/herald" in taken
    assert all((checkout / path).exists() for path in taken)
    declared = {one.rest.split("=")[0] for one in instructions(recipe.dockerfile) if one.word == "ARG"}
    assert recipe.arguments.keys() <= declared


def test_compose_gives_it_a_worker_and_a_registration_of_its_own(checkout: Path) -> None:
    services = read(checkout, "compose.yaml")["services"]
    worker, registers = services["worker-herald"], services["register-herald"]
    assert worker["image"] == registers["image"] == f"auteur-runner-herald:${{AUTEUR_VERSION:-{ours.VERSION}}}"
    assert worker["build"]["args"] == ours.recipes(checkout)["runner-herald"].arguments
    files = [each["entrypoint"][-1] for name, each in services.items() if name.startswith("register-")]
    assert files == ["/runners/diffusion-tiny.json", "/runners/herald.json"], "none overwrites another's"


def test_skaffold_builds_it_and_tells_the_chart(checkout: Path) -> None:
    skaffold = read(checkout, "skaffold.yaml")
    artifacts = skaffold["build"]["artifacts"]
    (artifact,) = (each for each in artifacts if each["image"] == "auteur-runner-herald")
    assert artifact["docker"]["buildArgs"] == ours.recipes(checkout)["runner-herald"].arguments
    (release,) = (each for each in skaffold["deploy"]["helm"]["releases"] if each["name"] == "auteur-runners")
    assert release["setValueTemplates"]["runners.herald.image.tag"] == "{{.IMAGE_TAG_auteur_runner_herald}}"
    patched = {patch["path"] for profile in skaffold["profiles"] for patch in profile["patches"]}
    assert f"/build/artifacts/{artifacts.index(artifact)}/docker/buildArgs/TORCH_BACKEND" in patched


def test_the_chart_offers_it_as_it_describes_itself(checkout: Path) -> None:
    values = read(checkout, "charts/auteur-runners/values.yaml")["runners"]["herald"]
    spec = described(checkout).spec
    assert values["enabled"] is True
    assert values["image"]["repository"] == "auteur-runner-herald"
    assert values["tiers"]["standard"]["warm"] == {"min": 1, "max": 3, "idleSeconds": 300}
    offered = [TierDeclaration.model_validate({"quality": name, **tier}) for name, tier in values["tiers"].items()]
    assert [tier.planned for tier in offered] == [tier.planned for tier in spec.tiers]
    functions = yaml.safe_load((checkout / "charts/auteur-runners/files/herald.yaml").read_text())
    assert [function["name"] for function in functions] == ["proclaim"]
    assert functions[0]["paramsSchema"] == json.loads(spec.functions[0].model_dump_json(by_alias=True))["paramsSchema"]


def test_the_docs_have_a_page_of_its_function(checkout: Path) -> None:
    page = (checkout / "docs/functions/proclaim.md").read_text()
    assert "| `text` | string, at most 100 characters | required | What all shall know. |" in page
    assert "| `times` | integer, ≥ 1, ≤ 3 | `1` |  |" in page
    assert "(../../images/runners/herald/README.md)" in page
    assert "[proclaim](proclaim.md)" in (checkout / "docs/functions/README.md").read_text()
    assert "(docs/functions/README.md)" in (checkout / "README.md").read_text()
