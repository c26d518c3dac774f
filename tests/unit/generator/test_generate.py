"""`scripts/generate`: this checkout is up to date, and one that is not is told what to do."""

import re
from pathlib import Path

import pytest

from auteur_contracts.resources import Warm
from auteur_contracts.vocabulary import Quality
from scripts.generator import runners
from tests.support import new_runner


def test_this_checkout_is_up_to_date() -> None:
    done = new_runner.generate(new_runner.CHECKOUT, "--check")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return new_runner.copied(tmp_path)


def test_what_is_stale_or_left_over_is_shown_named_and_then_mended(checkout: Path) -> None:
    (checkout / "manifests/crds/generationjobs.yaml").write_text("kind: Other\n")
    (checkout / "charts/auteur-runners/files/gone.yaml").write_text("kind: Older\n")
    done = new_runner.generate(checkout, "--check")
    assert done.returncode == 1
    assert "-kind: Other\n" in done.stderr
    assert "-kind: Older\n" in done.stderr
    stale = "charts/auteur-runners/files/gone.yaml, manifests/crds/generationjobs.yaml"
    assert done.stderr.endswith(f"error: not up to date: {stale}\n  run scripts/generate\n")

    assert new_runner.generate(checkout).returncode == 0
    assert new_runner.generate(checkout, "--check").returncode == 0
    assert not (checkout / "charts/auteur-runners/files/gone.yaml").exists()


def test_a_file_that_lost_its_marks_is_not_written(checkout: Path) -> None:
    compose = checkout / "compose.yaml"
    compose.write_text(compose.read_text().replace("# ↑ runners\n", ""))
    before = compose.read_text()
    done = new_runner.generate(checkout)
    assert done.returncode == 1
    assert 'there is not one part "runners"' in done.stderr
    assert compose.read_text() == before


def test_a_folder_that_speaks_of_a_runner_it_does_not_have_is_refused(checkout: Path) -> None:
    project = checkout / "images/runners/diffusion/pyproject.toml"
    project.write_text(f"{project.read_text()}\n[tool.auteur.runners.difusion]\nenabled = true\n")
    done = new_runner.generate(checkout)
    assert done.returncode == 1
    assert "tool.auteur.runners names difusion, which is no entry point" in done.stderr


def test_the_page_for_authors_shows_a_folder_that_is_understood(tmp_path: Path) -> None:
    page = (new_runner.CHECKOUT / "docs/architecture/add-a-function.md").read_text()
    folder = tmp_path / "images" / "runners" / "flip"
    folder.mkdir(parents=True)
    for name, language in (("pyproject.toml", "toml"), ("flip.py", "python")):
        shown = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
        assert shown is not None
        (folder / name).write_text(shown[1])
    (offered,) = runners.found(tmp_path)
    assert (offered.name, offered.image, offered.deployed) == ("flip", "auteur-runner-flip", True)
    assert offered.warm(Quality.STANDARD) == Warm(min=1, max=2)
    assert offered.warm(Quality.HIGH) == Warm(min=0, max=1)
